import Database from 'better-sqlite3';
import { connect } from './open-database.ts';

/**
 * Takes the lock that the file stands for, or returns undefined when another process has it, and keeps it for `waitMs`.
 * It is an exclusive SQLite transaction on an otherwise empty file: the kernel frees it when the holder dies, however it
 * dies, so nothing can be left locked.
 */
export function exclusiveLock(file: string, waitMs = 0): { release(): void } | undefined {
  const db = connect(file, true);
  try {
    db.pragma(`busy_timeout = ${waitMs}`);
    db.exec('BEGIN EXCLUSIVE');
    return { release: () => db.close() };
  } catch (error) {
    db.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      return undefined;
    }
    throw error;
  }
}
