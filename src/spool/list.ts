import { fitsAddress } from '../sqlite/fits-address.ts';
import { decodeAddress, encodeAddress } from '../mail/address.ts';
import { limits } from '../limits.ts';
import { outageMs } from './endpoint.ts';
import { expiresAt, lifetimeMs, type LifetimeStart } from './lifetime.ts';
import { LISTED, type MessageState, type RecipientState, type Spool } from './spool.ts';

/** A message as the queue commands show it. Times are observed time but for `queuedAt`; absent is null. */
export interface Listed {
  seq: number;
  id: string;
  eximId: string;
  state: MessageState;
  sender: string;
  recipients: {
    address: string;
    state: RecipientState;
    status: string | null;
    reason: string | null;
  }[];
  size: number;
  /** For people: milliseconds since 1970. */
  queuedAt: number;
  dueAt: number | null;
  attempts: number;
  lastStatus: string | null;
  lastReason: string | null;
  finishedAt: number | null;
  /** When trouble of its own will end it, at the earliest; null when nothing can. */
  expiresAt: number | null;
}

/** Which messages to list; what is absent does not restrict. */
export interface Filter {
  states?: readonly MessageState[] | undefined;
  /** An address, or @domain for all addresses in this domain; upper and lower case are the same. */
  sender?: string | undefined;
  recipient?: string | undefined;
  /** By the wall clock, in milliseconds since 1970. */
  queuedBefore?: number | undefined;
  /** The number of the last message; see latestNumber. */
  upTo?: number | undefined;
}

/**
 * The messages that fit the filter, oldest first; without states, those an operator cares about:
 * queued, sending, held and failed. Reads a page at a time, so that listing disturbs no writer and
 * costs the same however long the queue is.
 */
export function* listMessages(spool: Spool, filter: Filter, now: number): Generator<Listed> {
  const ages = agesOf(spool, now);
  const page = spool.sql<Row>(
    `SELECT ${COLUMNS} FROM ${source(filter.states)} AND seq > :after AND seq <= :upTo
       AND (:sender IS NULL OR ${fitsAddress('sender', ':sender')})
       AND (:queuedBefore IS NULL OR queued_at < :queuedBefore)
       AND (:recipient IS NULL OR EXISTS (
         SELECT 1 FROM recipient WHERE message = seq AND ${fitsAddress('address', ':recipient')}))
     ORDER BY seq LIMIT ${limits.listPage}`,
  );
  const wanted = {
    sender: octets(filter.sender),
    recipient: octets(filter.recipient),
    queuedBefore: filter.queuedBefore ?? null,
    upTo: filter.upTo ?? Number.MAX_SAFE_INTEGER,
  };
  for (let after = 0; ;) {
    const rows = page.all({ ...wanted, after });
    for (const row of rows) {
      after = row.seq;
      yield listed(spool, row, ages);
    }
    if (rows.length < limits.listPage) return;
  }
}

/** The number of the message that arrived last. */
export function latestNumber(spool: Spool): number {
  return spool.sql<{ seq: number | null }>('SELECT max(seq) AS seq FROM message').get()?.seq ?? 0;
}

/**
 * Where to look for messages in these states, in order of arrival. SQLite itself would take the index
 * by state and sort all that are in it, for every page.
 */
function source(states: readonly MessageState[] | undefined): string {
  if (!states) return `message INDEXED BY message_listed WHERE state IN ${LISTED}`;
  const chosen = `state IN (${states.map((state) => `'${state}'`).join()})`;
  return states.every((state) => LISTED.includes(`'${state}'`))
    ? `message INDEXED BY message_listed WHERE state IN ${LISTED} AND ${chosen}`
    : `message NOT INDEXED WHERE ${chosen}`;
}

function octets(address: string | undefined): Buffer | null {
  return address === undefined ? null : encodeAddress(address);
}

/** The message of that id, or those that were handed over under it as their Exim id, oldest first. */
export function findMessages(spool: Spool, id: string, now: number): Listed[] {
  const ages = agesOf(spool, now);
  return spool
    .sql<Row>(`SELECT ${COLUMNS} FROM message WHERE id = :id OR exim_id = :id`)
    .all({ id })
    .toSorted((one, two) => one.seq - two.seq)
    .map((row) => listed(spool, row, ages));
}

type Row = LifetimeStart & Omit<Listed, 'sender' | 'recipients' | 'expiresAt'> & { sender: Buffer };

/** What decides when messages expire: the endpoint's outages, and the lifetime. */
function agesOf(spool: Spool, now: number): [outageMs: number, lifetimeMs: number] {
  return [outageMs(spool, now), lifetimeMs(spool)];
}

function listed(spool: Spool, row: Row, ages: ReturnType<typeof agesOf>): Listed {
  const { renewedAt, outageMs: outageBefore, ...message } = row;
  const lives = row.state === 'queued' || row.state === 'sending';
  return {
    ...message,
    sender: decodeAddress(row.sender),
    recipients: spool
      .sql<Omit<Listed['recipients'][number], 'address'> & { address: Buffer }>(
        'SELECT address, state, status, reason FROM recipient WHERE message = ? ORDER BY position',
      )
      .all(row.seq)
      .map((recipient) => ({ ...recipient, address: decodeAddress(recipient.address) })),
    expiresAt: lives ? expiresAt({ renewedAt, outageMs: outageBefore }, ...ages) : null,
  };
}

const COLUMNS = `seq, id, exim_id AS eximId, state, sender, size, queued_at AS queuedAt,
  due_at AS dueAt, attempts, last_status AS lastStatus, last_reason AS lastReason,
  finished_at AS finishedAt, renewed_at AS renewedAt, outage_ms AS outageMs`;
