import { endpointRecord, type EndpointRecord } from './endpoint.ts';
import type { MessageState, Spool } from './spool.ts';

/** Law 8: accepted is the sum of all the others. */
export type Counters = Record<'accepted' | MessageState | 'damaged', number>;

export interface Stats {
  counters: Counters;
  /** When the oldest message that waits or is being sent was queued; null when none is. */
  oldestQueuedAt: number | null;
  endpoint: EndpointRecord;
}

/** The spool in numbers, at one moment. The cost does not depend on how much is queued. */
export function stats(spool: Spool): Stats {
  return spool.db.transaction(() => ({
    counters: counters(spool),
    oldestQueuedAt: oldestQueuedAt(spool),
    endpoint: endpointRecord(spool),
  }))();
}

function counters(spool: Spool): Counters {
  const rows = spool
    .sql<{ name: keyof Counters; messages: number }>('SELECT name, messages FROM counter')
    .all();
  return Object.fromEntries(rows.map(({ name, messages }) => [name, messages])) as Counters;
}

function oldestQueuedAt(spool: Spool): number | null {
  const oldest = spool
    .sql<{ at: number }>(
      `SELECT queued_at AS at FROM message INDEXED BY message_listed
       WHERE state IN ('queued', 'sending', 'held', 'failed') AND state IN ('queued', 'sending')
       ORDER BY seq LIMIT 1`,
    )
    .get();
  return oldest?.at ?? null;
}
