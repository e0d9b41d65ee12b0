import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  lstatSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import Database from '../better-sqlite3.ts';
import {
  connect,
  DatabaseUnusableError,
  inode,
  openDatabase,
  type Format,
} from '../open-database.ts';
import { limits } from '../../limits.ts';
import { spaceFault } from '../../host/free-space.ts';
import { syncFolder } from '../../host/sync-folder.ts';
import { faultsOf, isCorruption } from '../is-corruption.ts';
import { PageFile } from './page-file.ts';
import { readRows, type Row } from './read-rows.ts';
import { keepReport } from './repair-report.ts';
import { schemaFaults } from '../schema-faults.ts';

/** What can be read of a damaged file. */
export interface SalvageSource {
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
  fill: (fresh: Database.Database, source: SalvageSource) => void;
  /** What there is to tell after that, in sentences, the last of which sums it up. */
  report: (faults: readonly string[], kept: string) => string[];
}

/** What came of a rebuilding; what there is to tell of it is for tellRepair. */
export interface Rebuilt {
  /** What was wrong; nothing was changed where this is empty. */
  faults: string[];
  /** Where the damaged file is kept. */
  kept?: string;
}

/**
 * Inspects a file and, where something is wrong, puts a new one in its place. The old one is kept beside it, as one
 * of limits.damagedFiles. Whenever this is cut off, the old or the new file is in place, whole. Nobody else has the file
 * open meanwhile: a program that waits for it finds it replaced (openDatabase).
 *
 * Throws DatabaseUnusableError for a schema that is not known and for a link, SqliteError, which is SQLITE_BUSY when
 * others have the file open for limits.busyMs, and the file system's errors; then the old one stays.
 */
export function rebuildDatabase(file: string, format: Format, content: Content): Rebuilt {
  const earlier = ofEarlierRepair(file);
  const old = connect(file);
  let pages: PageFile | undefined;
  try {
    const unusable = lockOut(old);
    pages = new PageFile(file);
    const faults = [
      ...unusable,
      ...faultsOf(() => schemaFaults(old, file, format)),
      ...faultsOf(() => content.inspect(old)),
      ...(earlier === undefined ? [] : ['a repair of it was cut off']),
      ...(pages.logIsCut ? [LOG_IS_CUT] : []),
    ];
    if (faults.length === 0) return { faults };
    if (earlier === undefined) keepFew(file);
    requireSpace(file);
    return { faults, kept: replace({ file, pages, faults, earlier }, format, content) };
  } finally {
    old.close();
    pages?.close(); // Not earlier: that takes the lock away.
    removeDatabase(nextOf(file));
  }
}

/** A file in which something is wrong. */
interface Broken {
  file: string;
  pages: PageFile;
  faults: readonly string[];
  /** The second name that it has from a repair that was cut off. */
  earlier: string | undefined;
}

/** Fills a new file, keeps the old one under the name that is returned, and puts the new one in its place. */
function replace({ file, pages, faults, earlier }: Broken, format: Format, content: Content) {
  const next = nextOf(file);
  removeDatabase(next);
  fillNew(next, format, (fresh) => {
    content.fill(fresh, sourceOf(pages, pages.logIsCut || earlier !== undefined, fresh));
    const left = content.inspect(fresh);
    if (left.length > 0) throw new Error(`a defect of the repair: ${left.join('; ')}`);
  });
  const kept = earlier ?? `${file}.${KEPT}${new Date().toISOString().replace(/\W/g, '')}`;
  if (earlier === undefined) linkSync(file, kept);
  syncFolder(dirname(file));
  keepReport(file, next, content.report(faults, kept));
  // A log belongs to the file of its name: the new file must not find that of the old one. If this is cut off here, only
  // the second name of the old file still tells that its log had lost its end.
  pages.checkpoint();
  syncFolder(dirname(file));
  renameSync(next, file);
  syncFolder(dirname(file));
  return kept;
}

function requireSpace(file: string): void {
  const { size } = statSync(file);
  const lacking = spaceFault(dirname(file), size);
  if (lacking === undefined) return;
  throw new DatabaseUnusableError(`a repair of ${file} takes ${size} bytes more: ${lacking}`);
}

/**
 * Makes a database and fills it; it is on disk when this returns. SQLite opens it by its name, which somebody in the
 * folder's group may meanwhile give to another file: that is found out by the size of the file that was made here.
 */
function fillNew(file: string, format: Format, fill: (fresh: Database.Database) => void): void {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const fd = openSync(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o660);
  try {
    const fresh = openDatabase(file, { ...format, create: true });
    let bytes;
    try {
      fill(fresh);
      fresh.pragma('wal_checkpoint(TRUNCATE)');
      const [pages, pageBytes] = ['page_count', 'page_size'].map((name) =>
        Number(fresh.pragma(name, { simple: true })),
      );
      bytes = (pages ?? 0) * (pageBytes ?? 0);
    } finally {
      fresh.close();
    }
    if (fstatSync(fd).size !== bytes || inode(file) !== fstatSync(fd).ino) {
      throw new DatabaseUnusableError(`${file} was replaced while it was filled: try again`);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd); // Not earlier: that takes SQLite's locks away.
  }
}

/**
 * Keeps all others from the file until it is closed. What SQLite takes for no database, or for one that is
 * written in another way than it knows, nobody can open; returns that as a fault.
 */
function lockOut(db: Database.Database): string[] {
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN IMMEDIATE');
    return [];
  } catch (error) {
    const isOtherwise = error instanceof Database.SqliteError && error.code === 'SQLITE_READONLY';
    if (!isOtherwise && !isCorruption(error)) throw error;
    return [`SQLite says: ${error.message}`];
  }
}

/** All files of a format have the same root pages: auto_vacuum keeps these in front, as they were made. */
function sourceOf(pages: PageFile, logIsCut: boolean, fresh: Database.Database): SalvageSource {
  const root = fresh.prepare<[string], number>('SELECT rootpage FROM sqlite_schema WHERE name = ?');
  return {
    logIsCut,
    rows: (name) => readRows(pages, root.pluck().get(name) ?? 0),
  };
}

/**
 * The second name that an earlier repair gave the file before it was cut off. Throws DatabaseUnusableError for any other
 * second name: it may be a file of somebody else.
 */
function ofEarlierRepair(file: string): string | undefined {
  const { ino, nlink } = lstatSync(file, { throwIfNoEntry: false }) ?? { ino: 0, nlink: 1 };
  if (nlink === 1) return undefined;
  const earlier = keptOf(file).find((path) => lstatSync(path).ino === ino);
  if (earlier !== undefined && nlink === 2) return earlier;
  throw new DatabaseUnusableError(`${file} has another name (a hard link)`);
}

/** Makes room for one more: a disk that goes on damaging files must not fill up with them. */
function keepFew(file: string): void {
  const latest = limits.damagedFiles - 2;
  for (const path of keptOf(file).slice(1, -latest)) rmSync(path);
}

/** The damaged files that are kept, oldest first. */
function keptOf(file: string): string[] {
  return readdirSync(dirname(file), { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.startsWith(`${basename(file)}.${KEPT}`))
    .map(({ name }) => join(dirname(file), name))
    .toSorted();
}

function removeDatabase(file: string): void {
  for (const end of ['', '-wal', '-shm']) rmSync(`${file}${end}`, { force: true });
}

/** Where the new file is made. */
function nextOf(file: string): string {
  return `${file}.new`;
}

const KEPT = 'damaged-';
const LOG_IS_CUT = 'the write-ahead log has lost its end: what was committed last may be missing';
