import { statSync } from 'node:fs';
import { findSetting, firstLine } from '../../host/settings.ts';
import { fault, notChecked, ok, type Finding } from './finding.ts';

/** Whether the key is there, and nobody else's to read; and the key, which no finding tells. */
export function checkSecret(): { finding: Finding; key?: Buffer } {
  let found;
  try {
    found = findSetting('GMAIL_SECRET_KEY', { environment: process.env });
  } catch (error) {
    const { message } = error as Error;
    if (process.geteuid?.() !== 0) {
      return { finding: notChecked('secret', `only root can look (${message})`) };
    }
    return { finding: fault('secret', message, `mend ${FILE}`) };
  }
  if (!found) {
    const todo = `put the key into ${FILE}, root 0600`;
    return { finding: fault('secret', 'GMAIL_SECRET_KEY is not set', todo) };
  }
  const key = firstLine(found.bytes);
  if (key.length > 0) return { finding: privacy(found.file), key };
  const todo = `put the key into the first line of ${found.file ?? FILE}`;
  return { finding: fault('secret', 'GMAIL_SECRET_KEY is empty', todo) };
}

function privacy(file: string | undefined): Finding {
  if (file === undefined) return ok('secret', 'GMAIL_SECRET_KEY is in the environment');
  const { mode, uid } = statSync(file);
  if ((mode & 0o077) === 0 && (uid === 0 || uid === process.geteuid?.())) {
    return ok('secret', `${file} is there, and only its owner can read it`);
  }
  const shown = (mode & 0o777).toString(8).padStart(4, '0');
  return fault(
    'secret',
    `${file} has mode ${shown} and owner ${uid}: others may read the key`,
    `chown root: ${file}; chmod 600 ${file}; and exchange the key`,
  );
}

const FILE = '/etc/envdir/GMAIL_SECRET_KEY';
