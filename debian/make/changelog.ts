import { readFileSync } from 'node:fs';

/** Version and date of the latest entry in debian/changelog; dpkg takes SOURCE_DATE_EPOCH from the same. */
export function changelog(): { version: string; date: Date } {
  const text = readFileSync('debian/changelog', 'utf8');
  const [, version] = /^appengine-mailer \((.*?)\)/.exec(text) ?? [];
  const [, date] = /^ -- .*> {2}(.*)$/m.exec(text) ?? [];
  if (!version || !date) throw new Error('debian/changelog has no entry');
  return { version, date: new Date(date) };
}
