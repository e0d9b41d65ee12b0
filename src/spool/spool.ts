import { mkdirSync, rmdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock, type Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import type SQLite from '../sqlite/better-sqlite3.ts';
import { ObservedTime, storedTime } from '../sqlite/observed-time.ts';
import { openDatabase, type Database } from '../sqlite/open-database.ts';
import { OpenFiles } from '../sqlite/open-files.ts';
import type { LockWait } from '../sqlite/while-busy.ts';
import { migrations } from './schema.ts';

/** States of a message; src/README.md has the table. */
export const messageStates = [
  'queued',
  'sending',
  'held',
  'failed',
  'sent',
  'bounced',
  'deleted',
] as const;

export type MessageState = (typeof messageStates)[number];

/**
 * SQL: the states of messages that queue commands list. It is the very text of the index message_listed: SQLite does
 * not use that index for another text.
 */
export const LISTED = `('queued', 'sending', 'held', 'failed')`;

export type RecipientState = 'pending' | 'sent' | 'failed' | 'bounced' | 'deleted';

/** The SQLite file of the spool in a folder. */
export function spoolFile(folder: string): string {
  return join(folder, 'spool.db');
}

/** What the file is called, and has in it. */
export const spoolSchema = { name: 'spool', migrations } as const;

/** Beginning of the name of a folder that is made in the spool's to wake drain, and removed at once. */
export const WAKE = 'wake-';

/** Who opens the spool: what he may do to its file, and how long he waits for another program that writes to it. */
export type Access = 'drain' | 'pipe' | 'intake' | 'operator';

/** Drain has many writers beside it; the LMTP server must not keep its clients waiting. */
const LOCK_WAITS: Partial<Record<Access, LockWait>> = {
  drain: { pollMs: limits.drainPollMs },
  intake: { waitMs: limits.intakeBusyMs },
};

/**
 * An open spool: the SQLite file `spool.db` in a folder. The verbs (enqueue, claim, record, …) are
 * functions over it, one file each. `now` is observed time in all of them.
 */
export class Spool {
  readonly folder: string;
  readonly db: Database;
  readonly files: OpenFiles;
  readonly clock: Clock;
  /** Goes on in drain alone. */
  readonly #time: ObservedTime | undefined;
  readonly #statements = new Map<string, SQLite.Statement>();

  /**
   * Opens the spool in an existing folder. Drain, pipe and intake make it where there is none; only drain
   * brings an older one up to date. Throws DatabaseUnusableError or SqliteError.
   */
  constructor(folder: string, access: Access, clock: Clock = systemClock) {
    this.clock = clock;
    this.folder = folder;
    this.db = openDatabase(spoolFile(folder), {
      ...spoolSchema,
      migrate: access === 'drain',
      create: access !== 'operator',
      waitMs: LOCK_WAITS[access]?.waitMs,
    });
    this.files = new OpenFiles(this.db, LOCK_WAITS[access]);
    if (access !== 'drain') return;
    try {
      this.#time = new ObservedTime(this.db, clock);
    } catch (error) {
      this.db.close(); // A repair wants to be alone.
      throw error;
    }
  }

  /**
   * Observed time, in milliseconds. Who is not drain reads what drain wrote down last, limits.housekeepingMs ago at
   * the most: what he stores as due now is due.
   */
  now(): number {
    return this.#time?.now() ?? storedTime(this.db).observedMs;
  }

  /** A prepared statement, prepared once. Named parameters are plain properties of one object. */
  sql<Row = unknown>(text: string): SQLite.Statement<unknown[], Row> {
    let statement = this.#statements.get(text);
    if (!statement) {
      statement = this.db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement as SQLite.Statement<unknown[], Row>;
  }

  /** Runs the action in one transaction; see OpenFiles. */
  transaction<Result>(action: () => Result): Result {
    return this.files.transaction(() => {
      this.#time?.write();
      return action();
    });
  }

  /** Bytes of the file that hold nothing and are used before it grows. */
  spareBytes(): number {
    const pages = (name: string) => Number(this.db.pragma(name, { simple: true }));
    return pages('freelist_count') * pages('page_size');
  }

  /**
   * Wakes drain, which watches the folder: every writer but drain calls this after its commit.
   * Watching the write-ahead log instead would miss small commits: its event precedes the fsync.
   */
  wakeDrain(): void {
    const now = new Date(this.clock.wallNow());
    try {
      try {
        utimesSync(this.db.name, now, now);
      } catch {
        // Only the file's owner may set its times; the group may make a folder and remove it.
        const folder = join(this.folder, `${WAKE}${process.pid}`);
        mkdirSync(folder);
        rmdirSync(folder);
      }
    } catch (error) {
      // In any trouble drain's next look (limits.lookMs) finds what is committed.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }

  close(): void {
    this.files.close();
  }
}
