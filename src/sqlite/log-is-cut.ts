import { statSync } from 'node:fs';
import type Database from './better-sqlite3.ts';
import { limits } from '../limits.ts';
import { connect } from './open-database.ts';
import { PageFile } from './recover/page-file.ts';

/**
 * Whether a damaged write-ahead log has lost commits that were acknowledged: SQLite passes over what is behind the
 * first broken frame without a word. To be asked before the file is opened. False where that cannot be known: while
 * others have the file open, for a log larger than limits.logLookBytes, and when the file cannot be opened, which is
 * for the one to tell who opens it next.
 */
export function logIsCut(file: string): boolean {
  const [log, shared] = ['-wal', '-shm'].map((end) => sizeOf(`${file}${end}`));
  // Who closes a file last leaves neither.
  if (!(log || shared) || (log ?? 0) > limits.logLookBytes) return false;
  let [db, pages]: [Database.Database?, PageFile?] = [];
  try {
    db = connect(file);
    db.pragma('busy_timeout = 0');
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN IMMEDIATE');
    pages = new PageFile(file);
    return pages.logIsCut;
  } catch {
    return false;
  } finally {
    db?.close();
    pages?.close(); // Not earlier: that takes the lock away.
  }
}

function sizeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.size;
}
