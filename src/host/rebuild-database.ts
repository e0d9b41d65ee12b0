import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import {
  connect,
  DatabaseUnusable,
  openDatabase,
  requireKnown,
  type Format,
} from './open-database.ts';
import { PageFile } from './page-file.ts';
import { readRows, type Row } from './read-rows.ts';

/** What can be read of a damaged file. */
export interface Remains {
  /** Whether commits that were acknowledged are lost with a part of the write-ahead log. */
  logIsCut: boolean;
  /** The rows of a table or index of the format; undefined for what cannot be read among them. */
  rows: (name: string) => Iterable<Row | undefined>;
}

/** What a file of ours should hold. */
export interface Content {
  /** Says in a sentence each what is wrong; may throw SqliteError. */
  inspect: (db: Database.Database) => string[];
  /** Puts what can be read of the old file into an empty new one. */
  fill: (fresh: Database.Database, remains: Remains) => void;
}

/** What came of a rebuilding. */
export interface Rebuilt {
  /** What was wrong; nothing was changed where this is empty. */
  faults: string[];
  /** Where the damaged file is kept. */
  kept?: string;
}

/**
 * Inspects a file and, where something is wrong, puts a new one in its place; the old one is kept beside it.
 * Whenever this is cut off, the old or the new one is in place, whole. Nobody else has the file open
 * meanwhile; who waits for that finds it replaced (openDatabase).
 *
 * Throws DatabaseUnusable for a schema that is not known,
 * SqliteError, which is SQLITE_BUSY when others have the file open for limits.busyMs, and the file system's
 * errors; then the old one stays.
 */
export function rebuildDatabase(file: string, format: Format, { inspect, fill }: Content): Rebuilt {
  const next = `${file}.new`;
  const old = connect(file);
  let pages: PageFile | undefined;
  try {
    lockOut(old);
    pages = new PageFile(file);
    const faults = faultsOf(() => {
      requireKnown(old, file, format);
      return inspect(old);
    });
    if (pages.logIsCut) {
      faults.push('the write-ahead log has lost its end: what was committed last may be missing');
    }
    if (faults.length === 0) return { faults };

    forgetLinks(file);
    removeDatabase(next);
    const fresh = openDatabase(next, { ...format, create: true });
    try {
      fill(fresh, remainsOf(pages, fresh));
      const left = inspect(fresh);
      if (left.length > 0) throw new Error(`a defect of the repair: ${left.join('; ')}`);
      fresh.pragma('wal_checkpoint(TRUNCATE)');
    } finally {
      fresh.close();
    }
    sync(next);
    // A log belongs to the file of its name: the new one must not find that of the old.
    pages.checkpoint();
    const kept = `${file}.${KEPT}${new Date().toISOString().replace(/\W/g, '')}`;
    linkSync(file, kept);
    renameSync(next, file);
    sync(dirname(file));
    return { faults, kept };
  } finally {
    old.close();
    pages?.close(); // Not earlier: that takes the lock away.
    removeDatabase(next);
  }
}

/** Whether an error means that a file is not as SQLite wrote it. */
export function isDamage(error: unknown): error is Error & { code: string } {
  return error instanceof Database.SqliteError && DAMAGED.test(error.code);
}

/** What is read, or undefined where it is damaged. */
export function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof DatabaseUnusable || isDamage(error)) return undefined;
    throw error;
  }
}

/** What is wrong with a database, in sentences; damage that SQLite meets on the way is one, or a table that is not there. */
export function faultsOf(inspect: () => string[]): string[] {
  try {
    return inspect();
  } catch (error) {
    const isMissing = error instanceof Database.SqliteError && error.code === 'SQLITE_ERROR';
    if (!isMissing && !isDamage(error)) throw error;
    return [`SQLite says: ${error.message}`];
  }
}

/** Keeps all others from the file until it is closed. What SQLite takes for no database nobody can open. */
function lockOut(db: Database.Database): void {
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN IMMEDIATE');
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
}

/** All files of a format have the same root pages: auto_vacuum keeps these in front, as they were made. */
function remainsOf(pages: PageFile, fresh: Database.Database): Remains {
  const root = fresh.prepare<[string], number>('SELECT rootpage FROM sqlite_schema WHERE name = ?');
  return {
    logIsCut: pages.logIsCut,
    rows: (name) => readRows(pages, root.pluck().get(name) ?? 0),
  };
}

/** Removes the second name that a rebuilding gave the file before it was cut off. */
function forgetLinks(file: string): void {
  const folder = dirname(file);
  const { ino, nlink } = statSync(file);
  if (nlink === 1) return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const isKept = name.startsWith(`${basename(file)}.${KEPT}`);
    if (isKept && statSync(path).ino === ino) rmSync(path);
  }
}

function removeDatabase(file: string): void {
  for (const end of ['', '-wal', '-shm']) rmSync(`${file}${end}`, { force: true });
}

function sync(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const KEPT = 'damaged-';
const DAMAGED = /^SQLITE_(?:CORRUPT|NOTADB|IOERR_SHORT_READ|IOERR_CORRUPTFS)/;
