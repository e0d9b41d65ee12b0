import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import Database from '../../src/sqlite/better-sqlite3.ts';

const PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;

/** What may become of a page: it has zeros, or in one sector, garbage, the bytes of another page, or fewer rows. */
export const damages = ['zeros', 'sector', 'garbage', 'stranger', 'fewer'] as const;

export type Damage = (typeof damages)[number];

/** Spoils a page of a SQLite file, numbered from 1. */
export function spoilPage(
  file: string,
  number: number,
  damage: Damage,
  random: { below(end: number): number },
): void {
  const fd = openSync(file, 'r+');
  const pages = fstatSync(fd).size / PAGE_BYTES;
  const bytes = Buffer.alloc(PAGE_BYTES);
  const from = damage === 'stranger' ? 1 + random.below(pages) : number;
  readSync(fd, bytes, 0, PAGE_BYTES, (from - 1) * PAGE_BYTES);
  if (damage === 'zeros') bytes.fill(0);
  if (damage === 'sector') {
    const sector = SECTOR_BYTES * random.below(PAGE_BYTES / SECTOR_BYTES);
    bytes.fill(0, sector, sector + SECTOR_BYTES);
  }
  if (damage === 'garbage') for (const at of bytes.keys()) bytes[at] = random.below(256);
  const rows = (number === 1 ? 100 : 0) + 3;
  if (damage === 'fewer') bytes.writeUInt16BE(random.below(bytes.readUInt16BE(rows) + 1), rows);
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
