import type Database from './better-sqlite3.ts';
import { isBusy } from './is-corruption.ts';
import { connect } from './open-database.ts';

/**
 * Takes the lock that the file stands for, or returns undefined when another process has it, and keeps it for `waitMs`.
 * It is an exclusive SQLite transaction on an otherwise empty file: the kernel frees it when the holder dies, however it
 * dies, so nothing can be left locked. It lasts until `release`, whatever the caller does with the object.
 */
export function exclusiveLock(file: string, waitMs = 0): { release(): void } | undefined {
  const db = connect(file, true);
  try {
    db.pragma(`busy_timeout = ${waitMs}`);
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if (isBusy(error)) return undefined;
    throw error;
  }
  held.add(db);
  return {
    release: () => {
      held.delete(db);
      db.close();
    },
  };
}

/** Whatever is collected as garbage is closed, and its lock is free. */
const held = new Set<Database.Database>();
