import { endpointRecord, type EndpointRecord } from './endpoint.ts';
import { LISTED, type MessageState, type Spool } from './spool.ts';

/** Law 8: accepted is the sum of all the others. */
export type Counters = Record<'accepted' | MessageState | 'damaged', number>;

export interface Stats {
  /** In messages, and how large these are in bytes. */
  counters: Counters;
  bytes: Counters;
  /** When the oldest message that waits or is being sent was queued; null when none is. */
  oldestQueuedAt: number | null;
  endpoint: EndpointRecord;
}

/** The spool in numbers, at one moment. The cost does not depend on how much is queued. */
export function stats(spool: Spool): Stats {
  return spool.db.transaction(() => ({
    ...counters(spool),
    oldestQueuedAt: oldestQueuedAt(spool),
    endpoint: endpointRecord(spool),
  }))();
}

/** How many messages are neither finished nor held. */
export function queuedMessages(spool: Spool): number {
  return messagesIn(spool, ['queued', 'sending']);
}

/** How many messages are in these states. */
export function messagesIn(spool: Spool, states: readonly MessageState[]): number {
  const { counters: by } = counters(spool);
  return states.reduce((sum, state) => sum + by[state], 0);
}

/** How many messages wait or are being sent, by the minute in which they were queued: whole minutes since 1970. */
export interface WaitingSince {
  minute: number;
  messages: number;
}

/** All that wait; a row for each minute in which one of them was queued. */
export function waitingSince(spool: Spool): WaitingSince[] {
  return spool.sql<WaitingSince>('SELECT minute, messages FROM waiting').all();
}

function counters(spool: Spool): Pick<Stats, 'counters' | 'bytes'> {
  const rows = spool
    .sql<{ name: string; messages: number; bytes: number }>(
      'SELECT name, messages, bytes FROM counter',
    )
    .all();
  const by = (unit: 'messages' | 'bytes') =>
    Object.fromEntries(rows.map((row) => [row.name, row[unit]])) as Counters;
  return { counters: by('messages'), bytes: by('bytes') };
}

/** When the oldest message that waits or is being sent was queued; null when none is. */
export function oldestQueuedAt(spool: Spool): number | null {
  const oldest = spool
    .sql<{ at: number }>(
      `SELECT queued_at AS at FROM message INDEXED BY message_listed
       WHERE state IN ${LISTED} AND state IN ('queued', 'sending')
       ORDER BY seq LIMIT 1`,
    )
    .get();
  return oldest?.at ?? null;
}
