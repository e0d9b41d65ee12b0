import { systemClock, type Clock } from '../../host/clock.ts';
import { ObservedTime } from '../../sqlite/observed-time.ts';
import { openDatabase, type Database } from '../../sqlite/open-database.ts';
import { OpenFiles } from '../../sqlite/open-files.ts';
import { limits } from '../../limits.ts';
import { storedName, type MessageName } from './message-name.ts';

/** The verdict on a recipient that was sent, as the ledger remembers it. */
export interface SentRecord {
  status: string;
  reason: string;
}

/** What became of a recipient that was begun: sent (remembered), refused (forgotten) or unknown (listed). */
export type Settlement =
  | { address: string; kind: 'sent'; status: string; reason: string }
  | { address: string; kind: 'refused' }
  | { address: string; kind: 'unknown'; reason: string };

/** The same id was posted with other bytes before. */
export class DigestConflictError extends Error {
  override readonly name = 'DigestConflictError';

  constructor(id: string) {
    super(`${id} was posted before with other bytes`);
  }
}

/**
 * The proxy's durable memory (law 6): which recipients of which message of which key were begun and sent. Many posts
 * share one transaction and its fsync. Recipients that a crash left as begun are listed as unknown when the ledger is
 * opened. The wall clock is for people who read the list of the unknown; what is old is decided
 * in observed time.
 */
export class Ledger {
  readonly file: string;
  readonly clock: Clock;
  readonly files: OpenFiles;
  readonly #db: Database;
  /** Whether it knew of no message at all when it was opened. */
  readonly isEmpty: boolean;
  /**
   * How many recipients are listed as unknown, limits.unknownCounted at most; and how many were added to the list when the
   * ledger was opened, since they were left as begun.
   */
  readonly unknown: { listed: number; found: number };
  readonly #time: ObservedTime;
  readonly #statements: ReturnType<typeof prepare>;
  /** Runs one action of a transaction as a savepoint, so that it can fail without the others. */
  readonly #alone: (action: () => void) => void;
  #waiting: { action: () => void; failed: (error: unknown) => void; committed: () => void }[] = [];

  /** Opens the ledger, or makes it. Only for the holder of its lock. */
  constructor(file: string, clock: Clock = systemClock) {
    this.clock = clock;
    this.#db = openDatabase(file, { ...ledgerSchema, migrate: true, create: true });
    this.file = file;
    this.files = new OpenFiles(this.#db);
    try {
      this.#time = new ObservedTime(this.#db, clock);
    } catch (error) {
      this.#db.close(); // A repair wants to be alone.
      throw error;
    }
    this.#statements = prepare(this.#db);
    this.isEmpty = this.#statements.anyMessage.get() === undefined;
    this.#alone = this.#db.transaction((action) => action());
    const { listBegun, forgetBegun, countUnknown } = this.#statements;
    this.unknown = this.files.transaction(() => {
      this.#time.write();
      const found = listBegun.run({ now: this.now(), wallNow: clock.wallNow() }).changes;
      forgetBegun.run();
      return { found, listed: countUnknown.get() ?? 0 };
    });
  }

  /** Observed time, in milliseconds. */
  now(): number {
    return this.#time.now();
  }

  /**
   * The verdicts of those recipients that were sent. Recipients that were sent under the same id before the key had a name
   * count too where the digest is the same: with another one it may be the message of another host. Throws
   * DigestConflictError when the message is known with another digest than the given one, or an error of the database.
   */
  sent(
    message: MessageName,
    addresses: readonly string[],
    digest?: Buffer,
  ): Map<string, SentRecord> {
    const { sentRecord } = this.#statements;
    const sent = new Map<string, SentRecord>();
    for (const name of this.#namesOf(message, digest)) {
      for (const address of addresses) {
        const record = sentRecord.get(name, address);
        if (record) sent.set(address, record);
      }
    }
    return sent;
  }

  /** The names under which the ledger knows a message with this digest. Throws DigestConflictError. */
  #namesOf(message: MessageName, digest: Buffer | undefined): string[] {
    const { digestOf } = this.#statements;
    const name = storedName(message);
    const own = digestOf.get(name)?.digest;
    if (own && digest && !own.equals(digest) && !own.equals(LOST_DIGEST)) {
      throw new DigestConflictError(message.id);
    }
    const names = own ? [name] : [];
    const isNamed = message.key !== '';
    if (digest && isNamed && digestOf.get(message.id)?.digest.equals(digest)) {
      names.push(message.id);
    }
    return names;
  }

  /**
   * Commits recipients that were not sent as begun. Rejects with DigestConflictError, or when the ledger cannot
   * be written.
   */
  async begin(message: MessageName, digest: Buffer, addresses: readonly string[]): Promise<void> {
    const { notePost, begin, markSuspect } = this.#statements;
    await this.#commit(() => {
      const now = this.now();
      const name = storedName(message);
      const known = notePost.get({ name, id: message.id, digest, now });
      if (!known?.digest.equals(digest)) throw new DigestConflictError(message.id);
      for (const address of addresses) {
        const isNew = begin.run(name, address).changes > 0;
        if (isNew && known.suspect)
          markSuspect.run({ name, address, now, wallNow: this.clock.wallNow() });
      }
    });
  }

  /** Commits what became of begun recipients. */
  async settle(message: MessageName, settled: readonly Settlement[]): Promise<void> {
    const { recordSent, forget, listUnknown } = this.#statements;
    const name = storedName(message);
    await this.#commit(() => {
      for (const each of settled) {
        if (each.kind === 'sent') recordSent.run(each.status, each.reason, name, each.address);
        else forget.run(name, each.address);
        if (each.kind === 'unknown') {
          const { address, reason } = each;
          listUnknown.run({
            name,
            address,
            now: this.now(),
            reason,
            wallNow: this.clock.wallNow(),
          });
        }
      }
    });
  }

  /** Resolves when something could be written. */
  async check(): Promise<void> {
    await this.#commit(() => this.#statements.probeWrite.run());
  }

  /**
   * Deletes a bounded number of what is older than 30 days in observed time, which it also writes down; returns whether
   * there is more.
   */
  prune(now = this.now()): boolean {
    const before = now - limits.historyMs;
    const { forgetOldMessages, forgetOldUnknown, forgetOldRanges } = this.#statements;
    const deleted = this.files.transaction(() => {
      this.#time.write();
      return (
        forgetOldMessages.run(before).changes +
        forgetOldUnknown.run(before).changes +
        forgetOldRanges.run(before).changes
      );
    });
    return deleted >= limits.purgeRows;
  }

  close(): void {
    this.files.close();
  }

  /** Runs the action in the next transaction, with all others that are asked for until then. */
  async #commit<T>(action: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let result: T;
      this.#waiting.push({
        action: () => {
          result = action();
        },
        committed: () => resolve(result),
        failed: reject,
      });
      if (this.#waiting.length === 1) setImmediate(() => this.#commitAll());
    });
  }

  #commitAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const runAll = () => {
      this.#time.write();
      return waiting.map(({ action, failed, committed }) => {
        try {
          this.#alone(action);
          return committed;
        } catch (error) {
          // A full or broken disk may have ended the whole transaction.
          if (!this.#db.inTransaction) throw error;
          return () => failed(error);
        }
      });
    };
    try {
      for (const tell of this.files.transaction(runAll)) tell();
    } catch (error) {
      for (const { failed } of waiting) failed(error);
    }
  }
}

/** Stands for a digest that a damaged ledger has lost. */
const LOST_DIGEST = Buffer.alloc(32);

function prepare(db: Database) {
  return {
    /**
     * Notes a post of the message. Gives the digest that the message had first, and whether a damaged ledger may have known
     * it as sent, also under the name that it had before its key was given one.
     */
    notePost: db.prepare<unknown[], { digest: Buffer; suspect: number }>(
      `INSERT INTO message (id, digest, at, doubtful)
       VALUES (:name, :digest, :now,
         EXISTS (SELECT 1 FROM gap WHERE :name BETWEEN low AND high OR :id BETWEEN low AND high)
         OR EXISTS (SELECT 1 FROM message WHERE id = :id AND doubtful))
       ON CONFLICT DO UPDATE SET at = excluded.at,
         digest = iif(digest = zeroblob(32), excluded.digest, digest)
       RETURNING digest, doubtful AS suspect`,
    ),
    digestOf: db.prepare<unknown[], { digest: Buffer }>('SELECT digest FROM message WHERE id = ?'),
    sentRecord: db.prepare<unknown[], SentRecord>(
      `SELECT status, reason FROM recipient WHERE message = ? AND address = ? AND state = 'sent'`,
    ),
    begin: db.prepare(`INSERT INTO recipient (message, address, state) VALUES (?, ?, 'begun')
       ON CONFLICT DO NOTHING`),
    recordSent: db.prepare(
      `UPDATE recipient SET state = 'sent', status = ?, reason = ? WHERE message = ? AND address = ?`,
    ),
    forget: db.prepare(`DELETE FROM recipient WHERE message = ? AND address = ?`),
    listUnknown: db.prepare(
      `INSERT INTO unknown (message, address, at, reason, listed_at)
       VALUES (:name, :address, :now, :reason, :wallNow)`,
    ),
    /** Lists as unknown a recipient that a damaged ledger may have known as sent. */
    markSuspect: db.prepare(
      `INSERT INTO unknown (message, address, at, reason, listed_at)
       SELECT :name, :address, :now, 'the ledger was damaged, and may have known that it was sent', :wallNow
       WHERE NOT EXISTS (SELECT 1 FROM unknown WHERE message = :name AND address = :address)`,
    ),
    listBegun: db.prepare(
      `INSERT INTO unknown (message, address, at, reason, listed_at)
       SELECT message, address, :now, 'the proxy ended before the backend answered', :wallNow
       FROM recipient WHERE state = 'begun'`,
    ),
    forgetBegun: db.prepare(`DELETE FROM recipient WHERE state = 'begun'`),
    countUnknown: db
      .prepare<[], number>(
        `SELECT count(*) FROM (SELECT 1 FROM unknown LIMIT ${limits.unknownCounted})`,
      )
      .pluck(),
    anyMessage: db.prepare(`SELECT 1 FROM message LIMIT 1`),
    /** Finds out whether the ledger can be written. */
    probeWrite: db.prepare(`UPDATE checked SET times = times + 1`),
    forgetOldMessages: db.prepare(
      `DELETE FROM message WHERE id IN
         (SELECT id FROM message WHERE at < ? ORDER BY at LIMIT ${limits.purgeRows})`,
    ),
    forgetOldUnknown: db.prepare(
      `DELETE FROM unknown WHERE rowid IN
         (SELECT rowid FROM unknown WHERE at < ? LIMIT ${limits.purgeRows})`,
    ),
    forgetOldRanges: db.prepare('DELETE FROM gap WHERE at < ?'),
  };
}

/**
 * A message is named as storedName does it: KEY/ID, or ID for keys without a name, as it was for all keys up to schema 3.
 * One word and not two columns: so no row of an older ledger has to be written anew, and a damaged one of any schema
 * can be read.
 *
 * message    a message that was posted: SHA-256 of its bytes, and when it was last posted; zeros stand for a digest that
 *            damage has lost, and then that of the next post counts. doubtful: it is suspect, since it was posted before
 *            the ledger was damaged: recipients that are not known as sent may have been
 * recipient  begun: given to the backend, no answer yet; sent: its verdict, for repeats. A recipient that was refused
 *            or deferred has no row: it is tried anew when it is posted anew
 * unknown    recipients of whom nobody can know whether they were sent, and when that was listed: at and, for people,
 *            listed_at
 * gap        between which ids a damaged ledger has lost messages, and when that was found: a message that is new there
 *            is suspect
 * checked    one row, written to find out whether the ledger can be written
 * clock      one row: observed time (sqlite/observed-time.ts), in milliseconds, and when it was written down
 * Times are in observed time; listed_at and written_at are by the wall clock, in milliseconds since 1970 UTC.
 */
export const migrations: readonly string[] = [
  `
CREATE TABLE message (
  id TEXT PRIMARY KEY,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX message_at ON message (at);

CREATE TABLE recipient (
  message TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
  address TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('begun', 'sent')),
  status TEXT CHECK ((status IS NOT NULL) = (state = 'sent') AND status GLOB '2.[0-9]*.[0-9]*'),
  reason TEXT CHECK ((reason IS NOT NULL) = (state = 'sent')),
  PRIMARY KEY (message, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_begun ON recipient (message) WHERE state = 'begun';

CREATE TABLE unknown (
  message TEXT NOT NULL,
  address TEXT NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX unknown_at ON unknown (at);

CREATE TABLE checked (times INTEGER NOT NULL) STRICT;
INSERT INTO checked VALUES (0);
`,
  `
CREATE TABLE gap (low TEXT NOT NULL, high TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX unknown_message ON unknown (message);
ALTER TABLE message ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1));
`,
  // Observed time begins at 30 days. The wall clock may be wrong at this moment: so all counts as posted now.
  `
CREATE TABLE clock (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  observed_ms INTEGER NOT NULL CHECK (observed_ms BETWEEN 0 AND 1000000000000000),
  written_at INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 2592000000, CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER));

ALTER TABLE unknown ADD COLUMN listed_at INTEGER NOT NULL DEFAULT 0;
UPDATE unknown SET listed_at = at, at = 2592000000;
UPDATE message SET at = 2592000000;
UPDATE gap SET at = 2592000000;
`,
  // Nothing changes; but a program that knows no names of keys would send again what was sent with one.
  '-- message.id, recipient.message, unknown.message: KEY/ID',
];

/** The file for openDatabase: what messages call it, and its schema. */
export const ledgerSchema = { name: 'ledger', migrations } as const;
