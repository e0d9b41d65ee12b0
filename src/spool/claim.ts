import { requireWhole } from '../sqlite/open-database.ts';
import { decodeAddress } from '../mail/address.ts';
import { limits } from '../limits.ts';
import { outageMs as totalOutageMs } from './endpoint.ts';
import type { LifetimeStart } from './lifetime.ts';
import type { PostedTo } from './posted-to.ts';
import type { Spool } from './spool.ts';

/** A message that drain has taken to send, with the recipients still pending. */
export interface Claimed extends LifetimeStart {
  seq: number;
  id: string;
  eximId: string;
  sender: string;
  size: number;
  /** For people and figures: milliseconds since 1970. */
  queuedAt: number;
  attempts: number;
  deferrals: number;
  recipients: { position: number; address: string }[];
  /** The proxy that was posted it before and has not answered for all of these: only its ledger knows what became of them. */
  unansweredBy?: PostedTo | undefined;
  /** Its bytes, where it is small and whole (readSmallBodies): readBody reads those of others. */
  body?: Buffer | undefined;
}

/** What may still be put in flight. */
export interface Capacity {
  messages: number;
  bytes: number;
  /** Of these bytes, what is for messages that pass one for which they do not suffice. */
  bypassBytes: number;
}

interface ClaimOptions {
  last?: ReadonlySet<number>;
  postedTo?: number | null;
}

/**
 * Marks the messages that are due as being sent, longest due first, and returns them. One that is too
 * large for the room left waits, and others pass it, but not so many that it never finds room. `last`
 * are claimed only when nothing else is at hand. What no proxy may have sent is noted as posted to the one of the number
 * `postedTo`. Runs inside the caller's transaction.
 */
export function claim(
  spool: Spool,
  room: Capacity,
  now: number,
  { last = new Set(), postedTo = null }: ClaimOptions = {},
): Claimed[] {
  if (room.messages <= 0) return [];
  // Nothing expires for want of a drain: the lifetime begins when a message is first tried.
  const outage = totalOutageMs(spool, now);
  const due = spool
    .sql<DueRow>(
      `SELECT seq, id, exim_id AS eximId, sender, size, queued_at AS queuedAt, attempts, deferrals,
         iif(posted_at IS NULL, :now, renewed_at) AS renewedAt,
         iif(posted_at IS NULL, :outage, outage_ms) AS outageMs,
         coalesce(url, '') AS url, coalesce(ledger, '') AS ledger
       FROM message LEFT JOIN proxy ON number = posted_to
       WHERE state = 'queued' AND due_at <= :now ORDER BY due_at, seq LIMIT :most`,
    )
    .all({ now, outage, most: room.messages + limits.claimLookAhead })
    .map(requireWhole);
  const late = (seq: number) => Number(last.has(seq));
  const fitting = thatFit(
    due.toSorted((one, two) => late(one.seq) - late(two.seq)),
    room,
  );
  if (fitting.length === 0) return [];

  const seqs = JSON.stringify(fitting.map(({ seq }) => seq));
  spool
    .sql(
      `UPDATE message SET state = 'sending', due_at = NULL, posted_at = coalesce(posted_at, :now),
         renewed_at = iif(posted_at IS NULL, :now, renewed_at),
         outage_ms = iif(posted_at IS NULL, :outage, outage_ms),
         posted_to = coalesce((SELECT number FROM proxy WHERE number = posted_to), :postedTo)
       WHERE seq IN (SELECT value FROM json_each(:seqs))`,
    )
    .run({ seqs, now, outage, postedTo });
  const recipients = pendingRecipients(spool, seqs);
  return fitting.map(({ url, ledger, ...message }) => ({
    ...message,
    sender: decodeAddress(message.sender),
    recipients: recipients.get(message.seq) ?? [],
    ...(url !== '' && { unansweredBy: { url, ledger: ledger || null } }),
  }));
}

/** A message that is due; the proxy that has not answered for all of its recipients, empty where there is none. */
interface DueRow extends Omit<Claimed, 'sender' | 'recipients' | 'unansweredBy' | 'body'> {
  sender: Buffer;
  url: string;
  ledger: string;
}

/** Those of the messages that there is room for. */
function thatFit<Message extends { size: number }>(
  messages: readonly Message[],
  room: Capacity,
): Message[] {
  const fitting: Message[] = [];
  let { bytes } = room;
  for (const message of messages) {
    if (fitting.length === room.messages) break;
    if (capacityFor(message.size) > bytes) {
      bytes = Math.min(bytes, room.bypassBytes);
      continue;
    }
    bytes -= capacityFor(message.size);
    fitting.push(message);
  }
  return fitting;
}

/** The room for bytes that is left beside the messages in flight. */
export function capacityLeft(inFlight: Iterable<{ size: number }>): Omit<Capacity, 'messages'> {
  let bytes = limits.inFlightBytes;
  let bypassBytes = BYPASS_BYTES;
  for (const { size } of inFlight) {
    bytes -= capacityFor(size);
    if (size <= BYPASS_BYTES) bypassBytes -= size;
  }
  return { bytes, bypassBytes };
}

/** What is larger than all the room there is counts as what those that pass it leave. */
function capacityFor(size: number): number {
  return Math.min(size, limits.inFlightBytes - BYPASS_BYTES);
}

/** When the next message is due; undefined when none is queued. */
export function nextDueAt(spool: Spool): number | undefined {
  const row = spool
    .sql<{ dueAt: number | null }>(
      `SELECT min(due_at) AS dueAt FROM message WHERE state = 'queued'`,
    )
    .get();
  return row?.dueAt ?? undefined;
}

/**
 * Makes due what was in flight when a drain died (law 7). Only for the holder of the drain lock.
 * Returns how many messages these were.
 */
export function recoverClaimed(spool: Spool, now: number): number {
  return spool.transaction(
    () =>
      spool
        .sql(`UPDATE message SET state = 'queued', due_at = :now WHERE state = 'sending'`)
        .run({ now }).changes,
  );
}

/** The pending recipients of messages, by the numbers of these; `seqs` is a list in JSON. */
function pendingRecipients(spool: Spool, seqs: string): ReadonlyMap<number, Claimed['recipients']> {
  const rows = spool
    .sql<{ message: number; position: number; address: Buffer }>(
      `SELECT message, position, address FROM recipient
       WHERE message IN (SELECT value FROM json_each(?)) AND state = 'pending' ORDER BY message, position`,
    )
    .all(seqs)
    .map(requireWhole);
  const recipients = new Map<number, Claimed['recipients']>();
  for (const { message, position, address } of rows) {
    const those = recipients.get(message) ?? [];
    recipients.set(message, those);
    those.push({ position, address: decodeAddress(address) });
  }
  return recipients;
}

const BYPASS_BYTES = limits.inFlightBytes * limits.passingShare;
