import { fitsAddress } from '../../host/fits-address.ts';
import type { Database } from '../../sqlite/open-database.ts';
import { shownTime } from '../../sqlite/shown-time.ts';
import { limits } from '../../limits.ts';
import { nameOfStored, type MessageName } from './message-name.ts';

/** unknown: it may have been sent or not; begun: the backend has it; sent: it is not sent again. */
export const recipientStates = ['unknown', 'begun', 'sent'] as const;
export type RecipientState = (typeof recipientStates)[number];

/** A recipient as the ledger knows it. Absent is null. */
export interface KnownRecipient extends MessageName {
  address: string;
  state: RecipientState;
  /** Of the answer of one that was sent. */
  status: string | null;
  /** Of that answer too; or why it is unknown. */
  reason: string | null;
  /** When it was listed as unknown, or its message was posted last: for people, in milliseconds since 1970. */
  at: number;
  /** Of one that is unknown: it is known as sent, since it was posted again afterwards. It may have the message twice. */
  sentAgain: boolean;
}

/** Which recipients to list; what is absent does not restrict. */
export interface KnownFilter {
  states: readonly RecipientState[];
  /** An address, or @domain for all addresses in this domain; upper and lower case are the same. */
  recipient?: string | undefined;
  /** By `at`, in milliseconds since 1970. */
  before?: number | undefined;
}

/**
 * The recipients that fit the filter: first those that are unknown, as they were listed, then the others, by the names of
 * their messages. Reads a page at a time, so that listing disturbs no proxy.
 */
export function* listKnown(
  db: Database,
  filter: KnownFilter,
  wallNow: number,
): Generator<KnownRecipient> {
  const shown = shownTime({ db }, wallNow);
  const before = filter.before ?? Number.MAX_SAFE_INTEGER;
  const wanted = { recipient: filter.recipient ?? null, limit: limits.listPage };
  if (filter.states.includes('unknown')) {
    const page = db.prepare<unknown[], UnknownRow>(
      `${UNKNOWN} AND rowid > :after AND listed_at < :before AND ${FITS} ORDER BY rowid LIMIT :limit`,
    );
    for (let after = 0; ;) {
      const rows = page.all({ ...wanted, before, after });
      for (const row of rows) yield ofUnknown(row);
      if (rows.length < limits.listPage) break;
      after = rows.at(-1)?.rowid ?? after;
    }
  }
  for (const state of ['begun', 'sent'] as const) {
    if (!filter.states.includes(state)) continue;
    // As a constant: so SQLite uses the index of those that were begun.
    const page = db.prepare<unknown[], PostedRow>(
      `${POSTED} AND state = '${state}' AND (message, address) > (:message, :address) AND at < :before AND ${FITS}
       ORDER BY message, address LIMIT :limit`,
    );
    const observed = before + shown.now - wallNow;
    for (let after = { message: '', address: '' }; ;) {
      const rows = page.all({ ...wanted, ...after, before: observed });
      for (const row of rows) yield { ...ofPosted(row), at: shown.wall(row.at) };
      const last = rows.at(-1);
      if (!last || rows.length < limits.listPage) break;
      after = { message: last.message, address: last.address };
    }
  }
}

/** All that is known of the recipients of a message, or of those of several keys that have the same id. */
export function findKnown(db: Database, id: string, wallNow: number): KnownRecipient[] {
  const shown = shownTime({ db }, wallNow);
  const names = `(SELECT :id UNION SELECT id FROM message WHERE id LIKE '%/' || :id
    UNION SELECT message FROM unknown WHERE message LIKE '%/' || :id)`;
  const unknown = db
    .prepare<unknown[], UnknownRow>(`${UNKNOWN} AND message IN ${names} ORDER BY rowid`)
    .all({ id });
  const posted = db
    .prepare<unknown[], PostedRow>(`${POSTED} AND message IN ${names} ORDER BY message, address`)
    .all({ id });
  return [
    ...unknown.map(ofUnknown),
    ...posted.map((row) => ({ ...ofPosted(row), at: shown.wall(row.at) })),
  ];
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

/** The ledger in numbers, at one moment; it counts all rows. */
export function ledgerStats(db: Database, wallNow: number): LedgerStats {
  return db.transaction(() => {
    const { wall } = shownTime({ db }, wallNow);
    const number = (sql: string) =>
      db.prepare<[], number | null>(`SELECT ${sql}`).pluck().get() ?? null;
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

function ofPosted({ message, ...row }: PostedRow): KnownRecipient {
  return { ...nameOfStored(message), ...row, sentAgain: false };
}

const UNKNOWN = `SELECT rowid, message, address, reason, listed_at AS at,
    EXISTS (SELECT 1 FROM recipient
      WHERE message = unknown.message AND address = unknown.address AND state = 'sent') AS sentAgain
  FROM unknown WHERE TRUE`;
const POSTED = `SELECT message, address, state, status, reason, message.at
  FROM recipient JOIN message ON message.id = recipient.message WHERE TRUE`;
const FITS = `(:recipient IS NULL OR ${fitsAddress('address', ':recipient')})`;
