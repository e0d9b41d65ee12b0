import { statSync } from 'node:fs';
import { limits } from '../limits.ts';
import { isFull } from './is-corruption.ts';
import { DatabaseReplacedError, inode, type Database } from './open-database.ts';
import { whileBusy, type LockWait } from './while-busy.ts';

/**
 * The three files of an open database: the file itself, its write-ahead log, and what its users share (-shm).
 * SQLite keeps using files that were removed, and new users then make new ones: neither side sees what the other
 * commits, and the program that closes the old ones last removes the new ones by their names. So every program of ours writes
 * and closes by way of this class.
 */
export class OpenFiles {
  readonly #db: Database;
  readonly #lockWait: Required<LockWait>;
  readonly #inodes: ReadonlyMap<string, number | undefined>;

  /**
   * The database was just opened and read: from then on all three files are there. While another program
   * writes, a transaction waits for `waitMs` and looks every `pollMs`.
   */
  constructor(
    db: Database,
    { waitMs = limits.busyMs, pollMs = limits.writerPollMs }: LockWait = {},
  ) {
    this.#db = db;
    this.#lockWait = { waitMs, pollMs };
    // A file system that SQLite can share no memory on has no log; `check` says so.
    const ends = db.pragma('journal_mode', { simple: true }) === 'wal' ? FILES : [''];
    this.#inodes = new Map(ends.map((end) => [`${db.name}${end}`, inode(`${db.name}${end}`)]));
  }

  /** The path of the database. */
  get name(): string {
    return this.#db.name;
  }

  /** Throws DatabaseReplacedError when others do not find these files any more. */
  requireInPlace(): void {
    const [replaced] = this.#replaced();
    if (replaced !== undefined) throw new DatabaseReplacedError(replaced);
  }

  /**
   * Runs the action in one IMMEDIATE transaction: all of it is committed and on disk, or nothing. Throws
   * DatabaseReplacedError before it would write into a log that is not its own any more, and when what was
   * committed is in files that nobody else finds: then it may be lost. Within such a transaction it is a part of it.
   *
   * While another program writes, it looks at even intervals whether that has ended. SQLite's own waiting looks ever more
   * rarely, so that those who come later are served first, and a writer among several that never pause waits for seconds.
   */
  transaction<Result>(action: () => Result): Result {
    if (this.#db.inTransaction) return this.#db.transaction(action)();
    const run = this.#db.transaction(() => {
      this.#setBusyMs(this.#lockWait.waitMs);
      const result = action();
      this.requireInPlace();
      return result;
    });
    const result = this.#inTurn(() => run.immediate());
    this.requireInPlace();
    return result;
  }

  /** Only the beginning is tried again: a COMMIT that waits for readers, as without a log, is left to SQLite. */
  #inTurn<Result>(run: () => Result): Result {
    const once = () => {
      this.#setBusyMs(0);
      return run();
    };
    try {
      return whileBusy(once, this.#lockWait);
    } catch (error) {
      // SQLite copies the log after a commit only; when the disk has no room for that, the next try finds it in the log.
      if (isFull(error)) this.cutLog();
      throw error;
    } finally {
      this.#setBusyMs(this.#lockWait.waitMs);
    }
  }

  /** How long SQLite itself waits for other programs. */
  #setBusyMs(ms: number): void {
    this.#db.pragma(`busy_timeout = ${ms}`);
  }

  /** Copies the log into the file, as far as nobody reads an older state, and if nobody does, empties it. */
  cutLog(): void {
    try {
      this.requireInPlace();
      this.#setBusyMs(0);
      this.#db.pragma('wal_checkpoint(PASSIVE)'); // Writers need not wait for this part.
      this.#db.pragma('wal_checkpoint(TRUNCATE)');
    } catch {
      // The next operation on the database fails and reports what is wrong.
    } finally {
      this.#setBusyMs(this.#lockWait.waitMs);
    }
  }

  /**
   * Closes the database. The last to close it copies the log into the file: so what was committed is saved also
   * when the log was removed, as long as nobody has committed anything into a new one. When somebody may have, that
   * would spoil the file and remove the new log: then the database is left to process.exit, which closes nothing.
   */
  close(): void {
    if (this.#hidesCommits()) abandoned.push(this.#db);
    else this.#db.close();
  }

  /** Whether others write another log into the same file, so that they do not see what is in the removed one. */
  get logIsHidden(): boolean {
    const { isFile, isLog, isShared } = this.#inPlace();
    return isFile && !isLog && !isShared && this.#hidesCommits();
  }

  /** Whether others may have committed what this database does not see. */
  #hidesCommits(): boolean {
    const { isFile, isLog, isShared } = this.#inPlace();
    if (!isFile) return true;
    const log = statSync(`${this.name}-wal`, { throwIfNoEntry: false });
    if (isLog) return !isShared && inode(`${this.name}-shm`) !== undefined;
    return log !== undefined && log.size > 0;
  }

  #inPlace(): Record<'isFile' | 'isLog' | 'isShared', boolean> {
    const replaced = this.#replaced();
    const [isFile = true, isLog = true, isShared = true] = FILES.map(
      (end) => !replaced.includes(`${this.name}${end}`),
    );
    return { isFile, isLog, isShared };
  }

  #replaced(): string[] {
    return [...this.#inodes.keys()].filter((name) => {
      const found = inode(name);
      return found === undefined || found !== this.#inodes.get(name);
    });
  }
}

/** How the names of a database's files end. */
export const FILES = ['', '-wal', '-shm'];

/** Databases that must not be closed, kept from the garbage collector, which would close them. */
const abandoned: Database[] = [];
