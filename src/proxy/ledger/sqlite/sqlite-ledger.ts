import { systemClock, type Clock } from '../../../host/clock.ts';
import { GroupCommit } from '../../../sqlite/group-commit.ts';
import { ObservedTime } from '../../../sqlite/observed-time.ts';
import { openDatabase, requireWhole, type Database } from '../../../sqlite/open-database.ts';
import { OpenFiles } from '../../../sqlite/open-files.ts';
import { limits } from '../../../limits.ts';
import { DigestConflictError, type Ledger, type SentRecord, type Settlement } from '../ledger.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import type { FigureStore } from '../figure-store.ts';
import { storedName, type MessageName } from '../message-name.ts';
import { ledgerFault } from './ledger-fault.ts';
import { ledgerSchema } from './ledger-schema.ts';
import { SqliteFigures } from './sqlite-figures.ts';
import { tendLedger } from './tend-ledger.ts';

/**
 * The ledger of one proxy, in a SQLite file. Many posts share one transaction and its fsync. Recipients that a crash left as
 * begun are listed as unknown when the ledger is opened. Nothing is ever begun elsewhere: one proxy has the ledger's lock.
 */
export class SqliteLedger implements Ledger {
  readonly id: string;
  readonly file: string;
  readonly clock: Clock;
  readonly files: OpenFiles;
  readonly #figures: FigureStore;
  readonly #db: Database;
  readonly isEmpty: boolean;
  readonly unknown: { listed: number; found: number };
  readonly #time: ObservedTime;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #commits: GroupCommit;

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
    this.#commits = new GroupCommit(() => ({
      db: this.#db,
      transaction: (action) => this.#transaction(action),
    }));
    const commit = async (action: () => void) => this.#commits.commit(action);
    this.#figures = new SqliteFigures(this.#db, () => this.now(), commit);
    this.id = identityOf(this.#db);
    this.isEmpty = this.#statements.anyMessage.get() === undefined;
    const { listBegun, forgetBegun, countUnknown } = this.#statements;
    this.unknown = this.#transaction(() => {
      const found = listBegun.run({ now: this.now(), wallNow: clock.wallNow() }).changes;
      forgetBegun.run();
      return { found, listed: countUnknown.get() ?? 0 };
    });
  }

  get name(): string {
    return this.file;
  }

  figures(): FigureStore {
    return this.#figures;
  }

  /** Observed time, in milliseconds. */
  now(): number {
    return this.#time.now();
  }

  async known(
    message: MessageName,
    addresses: readonly string[],
    digest?: Buffer,
  ): Promise<Map<string, SentRecord>> {
    const { sentRecord } = this.#statements;
    const sent = new Map<string, SentRecord>();
    for (const name of this.#namesOf(message, digest)) {
      for (const address of addresses) {
        const record = sentRecord.get(name, address);
        if (record) sent.set(address, record);
      }
    }
    return Promise.resolve(sent);
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

  async begin(
    message: MessageName,
    digest: Buffer,
    addresses: readonly string[],
  ): Promise<Map<string, SentRecord>> {
    const { notePost, begin, sentRecord, markSuspect } = this.#statements;
    return this.#commits.commit(() => {
      const now = this.now();
      const name = storedName(message);
      const known = notePost.get({ name, id: message.id, digest, now });
      if (!known?.digest.equals(digest)) throw new DigestConflictError(message.id);
      const sent = new Map<string, SentRecord>();
      for (const address of addresses) {
        const isNew = begin.run(name, address).changes > 0;
        const record = isNew ? undefined : sentRecord.get(name, address);
        if (record) sent.set(address, record);
        if (isNew && known.suspect)
          markSuspect.run({ name, address, now, wallNow: this.clock.wallNow() });
      }
      return sent;
    });
  }

  async settle(message: MessageName, settled: readonly Settlement[]): Promise<never[]> {
    const { recordSent, forget, listUnknown } = this.#statements;
    const name = storedName(message);
    return this.#commits.commit(() => {
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
      return [];
    });
  }

  async outcomes(
    message: MessageName,
    addresses: readonly string[],
  ): Promise<Map<string, SentRecord>> {
    return this.known(message, addresses);
  }

  async changePace<T>(
    change: (text: string, now: number) => { text: string; result: T },
  ): Promise<T> {
    const { pace, setPace } = this.#statements;
    return this.#commits.commit(() => {
      const { text, result } = change(pace.get() ?? '', this.now());
      setPace.run(text);
      return result;
    });
  }

  async check(): Promise<void> {
    await this.#commits.commit(() => this.#statements.probeWrite.run());
  }

  prune(now = this.now()): boolean {
    const before = now - limits.historyMs;
    const { forgetOldMessages, forgetOldUnknown, forgetOldRanges } = this.#statements;
    const deleted = this.#transaction(
      () =>
        forgetOldMessages.run(before).changes +
        forgetOldUnknown.run(before).changes +
        forgetOldRanges.run(before).changes,
    );
    return deleted >= limits.purgeRows;
  }

  async tend(journal: ProxyJournal, stop: AbortSignal): Promise<Error | undefined> {
    return tendLedger(this, journal, stop);
  }

  faultText(error: Error): string {
    return ledgerFault(this.file, error);
  }

  close(): void {
    this.files.close();
  }

  #transaction<Result>(action: () => Result): Result {
    return this.files.transaction(() => {
      this.#time.write();
      return action();
    });
  }
}

function identityOf(db: Database): string {
  const row = db.prepare<[], { id: string | null }>('SELECT id FROM identity').get();
  return requireWhole(row ?? { id: null }).id as string;
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
    pace: db.prepare<[], string>('SELECT spent FROM pace WHERE only = 1').pluck(),
    setPace: db.prepare(
      'INSERT INTO pace VALUES (1, ?) ON CONFLICT DO UPDATE SET spent = excluded.spent',
    ),
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
