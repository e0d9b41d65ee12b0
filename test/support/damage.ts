import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import Database from 'better-sqlite3';

const PAGE_BYTES = 4096;

/** What may stand in the place of a page. */
export type Damage = 'zeros' | 'garbage';

/** Spoils a page of a SQLite file, numbered from 1. */
export function spoilPage(
  file: string,
  number: number,
  damage: Damage,
  random: { below(end: number): number },
): void {
  const bytes = Buffer.alloc(PAGE_BYTES);
  if (damage === 'garbage')
    for (let at = 0; at < PAGE_BYTES; at += 1) bytes[at] = random.below(256);
  const fd = openSync(file, 'r+');
  writeSync(fd, bytes, 0, PAGE_BYTES, (number - 1) * PAGE_BYTES);
  closeSync(fd);
}

/** How many pages a SQLite file has. */
export function countPages(file: string): number {
  const fd = openSync(file, 'r');
  const { size } = fstatSync(fd);
  closeSync(fd);
  return size / PAGE_BYTES;
}

/** The pages of a table or index, its root first; or those on which large rows go on. */
export function pagesOf(file: string, name: string, { overflow = false } = {}): number[] {
  const db = new Database(file, { readonly: true });
  try {
    return db
      .prepare<[string], number>(
        `SELECT pageno FROM dbstat WHERE name = ? AND (pagetype = 'overflow') = ${Number(overflow)}
         ORDER BY path`,
      )
      .pluck()
      .all(name);
  } finally {
    db.close();
  }
}
