import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  statSync,
  type Stats,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { limits } from '../mail/limits.ts';

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
}

/** A database cannot be used as it is; the message says why and what to do. */
export class DatabaseUnusable extends Error {
  override readonly name: string = 'DatabaseUnusable';
}

/** A file of an open database was removed or replaced; see OpenFiles. */
export class DatabaseReplacedError extends DatabaseUnusable {
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
 * A file made here has mode 0660 and the folder's owner and group, even when root makes it.
 * Throws DatabaseUnusable for an unsuitable schema or a link, SqliteError for the rest.
 */
export function openDatabase(file: string, format: Format): Database.Database {
  if (format.create) makeFile(file);
  else ownFile(file);
  const before = inode(file);
  const db = connect(file);
  try {
    db.pragma('foreign_keys = ON');
    // Cannot be switched on later; must come before anything is written to a new file.
    if (format.create) db.pragma('auto_vacuum = INCREMENTAL');
    whileBusy(() => db.pragma('journal_mode = WAL'));
    // From now on it is locked against being replaced; before, rebuildDatabase may have done so.
    if (inode(file) !== before) {
      throw new DatabaseUnusable(`the ${format.name} ${file} was just replaced: try again`);
    }
    db.pragma('synchronous = FULL');
    db.pragma(`journal_size_limit = ${limits.walBytes}`);
    whileBusy(() => adopt(db, file, format));
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Opens a file as it is; it must exist. Also serves the lock files, which hold nothing. Throws
 * DatabaseUnusable when this Node.js cannot load SQLite.
 */
export function connect(file: string): Database.Database {
  const nativeBinding = require.resolve('better-sqlite3/build/Release/better_sqlite3.node');
  try {
    return new Database(file, { fileMustExist: true, timeout: limits.busyMs, nativeBinding });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_DLOPEN_FAILED') throw error;
    const { version, versions } = process;
    throw new DatabaseUnusable(
      `Node.js ${version} (ABI ${versions.modules}) cannot load ${nativeBinding}, which is built for ` +
        'another: install Node.js 20, or an appengine-mailer for this one',
    );
  }
}

/**
 * Makes an empty file where there is none, 0660 and the folder's owner's, and mends mode and owner
 * where a program died half-way through that. A link, also a hard one, is refused: root must not give
 * away a file of somebody else.
 */
export function makeFile(file: string): void {
  const self = process.geteuid?.();
  const folder = statSync(dirname(file));
  const fit = (found: Stats) =>
    (found.mode & 0o777) === 0o660 &&
    (self !== 0 || (found.uid === folder.uid && found.gid === folder.gid));

  const found = ownFile(file);
  // Opening and closing a file drops the locks that SQLite in this process may hold on it.
  if (found && (fit(found) || (self !== 0 && self !== found.uid))) return;

  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  const fd = openSync(file, O_RDWR | O_CREAT | O_NOFOLLOW, 0o660);
  try {
    const opened = fstatSync(fd);
    if (!opened.isFile() || opened.nlink !== 1) {
      throw new DatabaseUnusable(
        `${file} is not a regular file, or has another name (a hard link)`,
      );
    }
    if (self === 0) fchownSync(fd, folder.uid, folder.gid);
    fchmodSync(fd, 0o660);
  } finally {
    closeSync(fd);
  }
}

/** What has that name, if anything. SQLite would follow a link, and root would change another database. */
export function ownFile(file: string): Stats | undefined {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found && !found.isFile()) throw new DatabaseUnusable(`${file} is not a regular file`);
  return found;
}

function adopt(db: Database.Database, file: string, format: Format): void {
  const latest = format.migrations.length;
  if (schemaOf(db) === latest) return;
  const bring = db.transaction(() => {
    requireKnown(db, file, format);
    const found = schemaOf(db);
    if (found === 0 ? !format.create : found < latest && !format.migrate) {
      throw new DatabaseUnusable(
        `the ${format.name} ${file} has schema ${found} and this program needs ${latest}: ` +
          'start the service once, it brings the file up to date',
      );
    }
    for (const migration of format.migrations.slice(found)) db.exec(migration);
    db.pragma(`user_version = ${latest}`);
  });
  bring.immediate();
}

/**
 * A row, none of whose columns may be NULL by its table: zeros on a page read as NULL, which SQLite takes as it is. Throws
 * what isDamage knows.
 */
export function requireWhole<Row extends object>(row: Row): Row {
  if (!Object.values(row).includes(null)) return row;
  throw new Database.SqliteError('a row has lost columns', 'SQLITE_CORRUPT');
}

/** Throws DatabaseUnusable for a file that a newer version wrote. */
export function requireKnown(db: Database.Database, file: string, format: Format): void {
  const [found, latest] = [schemaOf(db), format.migrations.length];
  if (found <= latest) return;
  throw new DatabaseUnusable(
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

/**
 * SQLite's own waiting does not cover a change of the journal mode, nor the moment in which another
 * process recovers the log: wait for these too.
 */
function whileBusy(action: () => unknown): void {
  const deadline = uptimeMs() + limits.busyMs;
  for (;;) {
    try {
      action();
      return;
    } catch (error) {
      const busy = error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY');
      if (!busy || uptimeMs() > deadline) throw error;
      Atomics.wait(pause, 0, 0, limits.busyPollMs);
    }
  }
}

/** Not `performance.now`, which loads a module of Node's that exim-pipe does without. */
const uptimeMs = () => process.uptime() * 1000;

const pause = new Int32Array(new SharedArrayBuffer(4));
const require = createRequire(import.meta.url);
