import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  statSync,
  type Stats,
} from 'node:fs';
import { dirname } from 'node:path';
import { limits } from '../limits.ts';
import { freeSpace } from '../host/free-space.ts';
import { requireRootGivenUp } from '../host/give-up-root.ts';
import { irregularity } from '../host/regular-file.ts';
import Database, { NoBinaryError } from './better-sqlite3.ts';
import { FRAME_BYTES } from './recover/wal.ts';
import { whileBusy } from './while-busy.ts';

export type { Database } from 'better-sqlite3';

/** What a file of ours must be: its migrations, and who may apply them. */
export interface Format {
  /** What the file is called in errors: "spool", "ledger". */
  name: string;
  /** Append-only: number N (from 1) brings a file from PRAGMA user_version N - 1 to N. */
  migrations: readonly string[];
  /** Whether an older file is brought up to date; a program that may not refuses it. */
  migrate: boolean;
  /** Whether a missing file is made. */
  create: boolean;
  /** How long to wait each time that another program writes to the file; limits.busyMs unless told otherwise. */
  waitMs?: number | undefined;
}

/** A database cannot be used as it is; the message says why and what to do. */
export class DatabaseUnusableError extends Error {
  override readonly name: string = 'DatabaseUnusableError';
}

/** A file of an open database was removed or replaced; see OpenFiles. */
export class DatabaseReplacedError extends DatabaseUnusableError {
  override readonly name = 'DatabaseReplacedError';

  constructor(file: string) {
    super(`${file} was removed or replaced while it was open`);
  }
}

/**
 * Opens a SQLite file for durable work: WAL, synchronous=FULL, foreign keys. The only way this
 * project opens one, because better-sqlite3 sets synchronous=NORMAL whenever it opens a file that is
 * in WAL mode already, and then a power cut takes committed transactions with it.
 *
 * A file made here has mode 0660 and the folder's owner, which root became before (giveUpRoot).
 * Throws DatabaseUnusableError for an unsuitable schema or a link, an Error where root was not given up, and SqliteError
 * for the rest.
 */
export function openDatabase(file: string, format: Format): Database.Database {
  const { db, found } = open(file, format.create);
  const { waitMs = limits.busyMs } = format;
  try {
    db.pragma(`busy_timeout = ${waitMs}`);
    db.pragma('foreign_keys = ON');
    // Cannot be switched on later; must come before anything is written to a new file.
    if (format.create) db.pragma('auto_vacuum = INCREMENTAL');
    // SQLite's own waiting covers neither a change of the journal mode nor the moment in which another process recovers the log.
    whileBusy(() => db.pragma('journal_mode = WAL'), { waitMs });
    // From now on it is locked against being replaced; before, rebuildDatabase may have done so.
    if (inode(file) !== found?.ino) {
      throw new DatabaseUnusableError(`the ${format.name} ${file} was just replaced: try again`);
    }
    db.pragma('synchronous = FULL');
    limitLog(db, dirname(file));
    whileBusy(() => adopt(db, file, format), { waitMs });
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function limitLog(db: Database.Database, folder: string): void {
  const bytes = logLimitBytes(folder);
  db.pragma(`wal_autocheckpoint = ${Math.max(1, Math.floor(bytes / FRAME_BYTES))}`);
  db.pragma(`journal_size_limit = ${bytes}`);
}

/**
 * How large the log of a file in this folder becomes before it is copied into the file. Both find room in what is kept free,
 * also on a small disk: otherwise nothing could be copied, and drain could record nothing.
 */
export function logLimitBytes(folder: string): number {
  const { leastBytes } = freeSpace(folder);
  // Some file systems do not tell how large they are.
  return leastBytes > 0 ? Math.min(limits.walBytes, Math.floor(leastBytes / 2)) : limits.walBytes;
}

/**
 * Opens a file to be read beside the programs that write to it: nothing in it changes, and its log stays as it is for
 * the program that works on it next. Throws as openDatabase does.
 */
export function openToRead(
  file: string,
  format: Pick<Format, 'name' | 'migrations'>,
): Database.Database {
  const db = connectToRead(file);
  try {
    whileBusy(() => requireCurrent(db, file, format));
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Opens a file as it is, or makes an empty one. Also serves the lock files, which hold nothing. Throws
 * DatabaseUnusableError for a link, and when this Node.js cannot load SQLite.
 */
export function connect(file: string, create = false): Database.Database {
  return open(file, create).db;
}

/** Opens a file as it is to be read, whatever its schema; its log stays as it is. Throws as connect does. */
export function connectToRead(file: string): Database.Database {
  return open(file, false, true).db;
}

/** Everything that works on a file of ours begins here: root was given up before. */
function open(
  file: string,
  create: boolean,
  readonly = false,
): { db: Database.Database; found: Stats | undefined } {
  requireRootGivenUp(dirname(file));
  const found = create ? makeFile(file) : regularFile(file);
  for (const end of ['-journal', '-wal', '-shm']) regularFile(`${file}${end}`);
  const db = load(file, readonly);
  // Any account that may write to the folder may have written the file, and what its schema says is run (trusted_schema).
  db.pragma('trusted_schema = OFF');
  db.pragma('cell_size_check = ON');
  return { db, found };
}

function load(file: string, readonly: boolean): Database.Database {
  try {
    return new Database(file, { fileMustExist: true, timeout: limits.busyMs, readonly });
  } catch (error) {
    throw error instanceof NoBinaryError ? new DatabaseUnusableError(error.message) : error;
  }
}

/**
 * Makes an empty file with mode 0660 where there is none, and sets the mode where a program died half-way through that.
 * Only for a folder for which root was given up. Throws DatabaseUnusableError for a link.
 */
export function makeFile(file: string): Stats {
  const found = regularFile(file);
  const isFit = found && ((found.mode & 0o777) === 0o660 || found.uid !== process.geteuid?.());
  // Opening and closing a file drops the locks that SQLite in this process may hold on it.
  if (isFit) return found;
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  try {
    const fd = openSync(file, O_RDWR | O_NOFOLLOW | (found ? 0 : O_CREAT | O_EXCL), 0o660);
    try {
      fchmodSync(fd, 0o660);
      return fstatSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    // Another program has made it in this moment.
    if (!found && (error as NodeJS.ErrnoException).code === 'EEXIST') return makeFile(file);
    throw error;
  }
}

/**
 * What has that name, if anything. SQLite would follow a link into a database of somebody else, and wait for a FIFO; of
 * the files that it makes beside a database it says only that it cannot open one.
 */
function regularFile(file: string): Stats | undefined {
  const found = lstatSync(file, { throwIfNoEntry: false });
  const fault = found && irregularity(file, found);
  if (fault === undefined) return found;
  throw new DatabaseUnusableError(`${fault}: see who has made it, and remove it`);
}

function adopt(db: Database.Database, file: string, format: Format): void {
  const latest = format.migrations.length;
  if (schemaOf(db) === latest) return;
  const bring = db.transaction(() => {
    requireKnown(db, file, format);
    const found = schemaOf(db);
    if (found === 0 ? !format.create : !format.migrate) requireCurrent(db, file, format);
    for (const migration of format.migrations.slice(found)) db.exec(migration);
    db.pragma(`user_version = ${latest}`);
  });
  bring.immediate();
}

/**
 * A row, none of whose columns may be NULL by its table: zeros on a page read as NULL, which SQLite takes as it is. Throws
 * what isCorruption knows.
 */
export function requireWhole<Row extends object>(row: Row): Row {
  if (!Object.values(row).includes(null)) return row;
  throw new Database.SqliteError('a row has lost columns', 'SQLITE_CORRUPT');
}

/** Throws DatabaseUnusableError for a file whose schema is not the one of this program. */
function requireCurrent(
  db: Database.Database,
  file: string,
  format: Pick<Format, 'name' | 'migrations'>,
): void {
  requireKnown(db, file, format);
  const [found, latest] = [schemaOf(db), format.migrations.length];
  if (found === latest) return;
  throw new DatabaseUnusableError(
    `the ${format.name} ${file} has schema ${found} and this program needs ${latest}: ` +
      'start the service once, it brings the file up to date',
  );
}

/** Throws DatabaseUnusableError for a file that a newer version wrote. */
export function requireKnown(
  db: Database.Database,
  file: string,
  format: Pick<Format, 'name' | 'migrations'>,
): void {
  const [found, latest] = [schemaOf(db), format.migrations.length];
  if (found <= latest) return;
  throw new DatabaseUnusableError(
    `the ${format.name} ${file} has schema ${found} and this program knows schemas up to ` +
      `${latest}: it was written by a newer appengine-mailer; install that version or a later one`,
  );
}

/** The number of the schema that the file says it has. */
export function schemaOf(db: Database.Database): number {
  return Number(db.pragma('user_version', { simple: true }));
}

/** What tells a file from another that took its name; undefined when there is none. */
export function inode(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.ino;
}
