import { fitsAddress } from '../../sqlite/fits-address.ts';
import { openToRead, type Database } from '../../sqlite/open-database.ts';
import { shownTime, type ShownTime } from '../../sqlite/shown-time.ts';
import { limits } from '../../limits.ts';
import { ledgerSchema } from './ledger.ts';
import { nameOfStored, type MessageName } from './message-name.ts';

/** unknown: nobody knows whether it was sent; begun: the backend has it; sent: it is not sent again. */
export const recipientStates = ['unknown', 'begun', 'sent'] as const;
export type RecipientState = (typeof recipientStates)[number];

/** A recipient as the ledger knows it. Absent values are null. */
export interface KnownRecipient extends MessageName {
  address: string;
  state: RecipientState;
  /** The status of the answer to one that was sent. */
  status: string | null;
  /** The reason of that answer; or why it is unknown. */
  reason: string | null;
  /** When it was listed as unknown, or its message was posted last: for people, in milliseconds since 1970. */
  at: number;
  /** Whether an unknown recipient was sent when it was posted again: it may have the message twice. */
  sentAgain: boolean;
}

/** Which recipients to list; a property that is absent restricts nothing. */
export interface KnownFilter {
  states: readonly RecipientState[];
  /** An address, or @domain for all addresses in this domain; upper and lower case are the same. */
  recipient?: string | undefined;
  /** By `at`, in milliseconds since 1970. */
  before?: number | undefined;
}

/** How much the ledger knows; times in milliseconds since 1970, for people. */
export interface LedgerStats {
  messages: number;
  recipients: Record<RecipientState, number>;
  /** When the first of those that are unknown was listed. */
  oldestUnknownAt: number | null;
  /** When the message was posted that will be forgotten first, and the one that was posted last. */
  oldestPostedAt: number | null;
  latestPostedAt: number | null;
}

/**
 * A ledger that is open to be read, also beside its proxy. `wallNow` is the time of day for people, in milliseconds
 * since 1970.
 */
export class LedgerReader {
  readonly #db: Database;

  /** Throws as openToRead does. */
  constructor(file: string) {
    this.#db = openToRead(file, ledgerSchema);
  }

  close(): void {
    this.#db.close();
  }

  /**
   * The recipients that fit the filter: first those that are unknown, as they were listed, then the others, by the names
   * of their messages. Reads a page at a time, so that a long list does not disturb the proxy.
   */
  *list(filter: KnownFilter, wallNow: number): Generator<KnownRecipient> {
    if (filter.states.includes('unknown')) yield* this.#listUnknown(filter);
    for (const state of ['begun', 'sent'] as const) {
      if (filter.states.includes(state)) yield* this.#listPosted(state, filter, wallNow);
    }
  }

  *#listUnknown({ recipient, before = ANY_TIME }: KnownFilter): Generator<KnownRecipient> {
    const page = this.#db.prepare<unknown[], UnknownRow>(
      `${UNKNOWN} AND rowid > :after AND listed_at < :before AND ${FITS} ORDER BY rowid LIMIT :limit`,
    );
    const rows = inPages<UnknownRow>((last, limit) =>
      page.all({ recipient: recipient ?? null, before, after: last?.rowid ?? 0, limit }),
    );
    for (const row of rows) yield ofUnknown(row);
  }

  *#listPosted(
    state: 'begun' | 'sent',
    { recipient, before = ANY_TIME }: KnownFilter,
    wallNow: number,
  ): Generator<KnownRecipient> {
    const shown = shownTime({ db: this.#db }, wallNow);
    // The state is a constant, so that SQLite uses the index of those that were begun.
    const page = this.#db.prepare<unknown[], PostedRow>(
      `${POSTED} AND state = '${state}' AND (message, address) > (:message, :address) AND at < :before AND ${FITS}
       ORDER BY message, address LIMIT :limit`,
    );
    const observed = before + shown.now - wallNow;
    const rows = inPages<PostedRow>((last, limit) => {
      const { message, address } = last ?? FIRST;
      return page.all({ recipient: recipient ?? null, before: observed, message, address, limit });
    });
    for (const row of rows) yield ofPosted(row, shown);
  }

  /** All that is known of the recipients of a message, or of those of several keys that have the same id. */
  find(id: string, wallNow: number): KnownRecipient[] {
    const shown = shownTime({ db: this.#db }, wallNow);
    const names = `(SELECT :id UNION SELECT id FROM message WHERE id LIKE '%/' || :id
      UNION SELECT message FROM unknown WHERE message LIKE '%/' || :id)`;
    const unknown = this.#db
      .prepare<unknown[], UnknownRow>(`${UNKNOWN} AND message IN ${names} ORDER BY rowid`)
      .all({ id });
    const posted = this.#db
      .prepare<unknown[], PostedRow>(`${POSTED} AND message IN ${names} ORDER BY message, address`)
      .all({ id });
    return [...unknown.map(ofUnknown), ...posted.map((row) => ofPosted(row, shown))];
  }

  /** The ledger in numbers, at one moment; it counts all rows. */
  stats(wallNow: number): LedgerStats {
    return this.#db.transaction(() => {
      const { wall } = shownTime({ db: this.#db }, wallNow);
      const number = (sql: string) =>
        this.#db.prepare<[], number | null>(`SELECT ${sql}`).pluck().get() ?? null;
      const count = (rows: string) => number(`count(*) FROM ${rows}`) ?? 0;
      const begun = count(`recipient WHERE state = 'begun'`);
      return {
        messages: count('message'),
        recipients: { unknown: count('unknown'), begun, sent: count('recipient') - begun },
        oldestUnknownAt: number('min(listed_at) FROM unknown'),
        oldestPostedAt: wall(number('min(at) FROM message')),
        latestPostedAt: wall(number('max(at) FROM message')),
      };
    })();
  }
}

/** The rows of all pages; `read` returns at most `limit` rows that follow the last row of the previous page. */
function* inPages<Row>(read: (last: Row | undefined, limit: number) => Row[]): Generator<Row> {
  for (let last: Row | undefined; ;) {
    const rows = read(last, limits.listPage);
    yield* rows;
    if (rows.length < limits.listPage) return;
    last = rows.at(-1);
  }
}

interface UnknownRow {
  rowid: number;
  message: string;
  address: string;
  reason: string;
  at: number;
  sentAgain: number;
}

function ofUnknown({ message, address, reason, at, sentAgain }: UnknownRow): KnownRecipient {
  const named = { ...nameOfStored(message), address };
  return { ...named, state: 'unknown', status: null, reason, at, sentAgain: sentAgain === 1 };
}

interface PostedRow {
  message: string;
  address: string;
  state: 'begun' | 'sent';
  status: string | null;
  reason: string | null;
  at: number;
}

function ofPosted({ message, at, ...row }: PostedRow, { wall }: ShownTime): KnownRecipient {
  return { ...nameOfStored(message), ...row, at: wall(at), sentAgain: false };
}

/** Before the first row of the table recipient. */
const FIRST = { message: '', address: '' };
const ANY_TIME = Number.MAX_SAFE_INTEGER;

const UNKNOWN = `SELECT rowid, message, address, reason, listed_at AS at,
    EXISTS (SELECT 1 FROM recipient
      WHERE message = unknown.message AND address = unknown.address AND state = 'sent') AS sentAgain
  FROM unknown WHERE TRUE`;
const POSTED = `SELECT message, address, state, status, reason, message.at
  FROM recipient JOIN message ON message.id = recipient.message WHERE TRUE`;
const FITS = `(:recipient IS NULL OR ${fitsAddress('address', ':recipient')})`;
