import Database from './better-sqlite3.ts';
import { DatabaseUnusableError } from './open-database.ts';

/** Whether an error means that a file is not as SQLite wrote it. */
export function isCorruption(error: unknown): error is Error & { code: string } {
  return isSqliteError(error) && DAMAGED.test(error.code);
}

/** Whether it is SQLite's error; its code is such as SQLITE_FULL. */
export function isSqliteError(error: unknown): error is Error & { code: string } {
  return error instanceof Database.SqliteError;
}

/** Whether the disk has no room for what was to be written. */
export function isFull(error: unknown): boolean {
  return isSqliteError(error) && error.code === 'SQLITE_FULL';
}

/** Whether others hold a database for too long. */
export function isBusy(error: unknown): boolean {
  return isSqliteError(error) && error.code.startsWith('SQLITE_BUSY');
}

/** Whether SQLite was asked for something that the schema of the file does not let happen. */
export function isRefusedBySchema(error: unknown): boolean {
  return isSqliteError(error) && /^SQLITE_(?:ERROR|CONSTRAINT)/.test(error.code);
}

/** Whether SQLite refused values because a row may not have them, or because another row has them. */
export function isRefusal(error: unknown): boolean {
  return isSqliteError(error) && REFUSED.test(error.code);
}

/** Whether a file, or what is read of it, cannot be used as it is: damage, whether SQLite finds it or we do. */
export function isUnreadable(error: unknown): error is Error {
  return error instanceof DatabaseUnusableError || isCorruption(error);
}

/** What is read, or undefined where it is damaged. */
export function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

/** What is wrong with a database, in sentences; damage that SQLite meets on the way is one, or a table that is not there. */
export function faultsOf(inspect: () => string[]): string[] {
  try {
    return inspect();
  } catch (error) {
    const isMissing = isSqliteError(error) && error.code === 'SQLITE_ERROR';
    if (!isMissing && !isCorruption(error)) throw error;
    return [`SQLite says: ${error.message}`];
  }
}

const DAMAGED = /^SQLITE_(?:CORRUPT|NOTADB|IOERR_SHORT_READ|IOERR_CORRUPTFS)/;
/** Not SQLITE_CONSTRAINT_TRIGGER: a trigger that refuses may be of others. */
const REFUSED = /^SQLITE_CONSTRAINT_(?:CHECK|NOTNULL|UNIQUE)$/;
