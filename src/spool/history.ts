import { limits } from '../limits.ts';
import { jsonText } from '../sqlite/json-text.ts';
import type { Spool } from './spool.ts';

/**
 * What happens to a message after its arrival: an attempt that was charged to it, one that was not
 * (postponed), what an operator did, how a return to Exim ended, and what its sender was told.
 */
export type HistoryEventName =
  | 'attempt'
  | 'postponed'
  | 'retry'
  | 'hold'
  | 'release'
  | 'bounce'
  | 'delete'
  | 'return'
  | 'returned'
  | 'kept'
  | 'reported'
  | 'warned';

/** One event in the history of a message. */
export interface HistoryEvent {
  /** From 1; a gap is what was not kept. */
  number: number;
  /** For people: milliseconds since 1970, by the wall clock. */
  at: number;
  what: HistoryEventName;
  /** Of an attempt: what it came to. */
  status: string | null;
  /** The same in words; or why Exim did not take the message. */
  reason: string | null;
}

/** An event that happens now to the message of that number. */
export interface NewEvent {
  seq: number;
  what: HistoryEventName;
  status?: string;
  reason?: string;
}

/**
 * Adds events to the histories of messages, each to another one. The first few and the latest of a history are kept: two
 * rows at the most are touched for each, however long it is. Runs inside the caller's transaction.
 */
export function addToHistory(spool: Spool, ...events: readonly NewEvent[]): void {
  const rows = events.map(({ seq, what, status, reason }) => [seq, what, status, reason]);
  const added = spool
    .sql<{ message: number; number: number }>(
      `INSERT INTO history (message, number, at, what, status, reason)
       SELECT value ->> 0,
         1 + coalesce((SELECT max(number) FROM history WHERE message = value ->> 0), 0),
         :at, value ->> 1, value ->> 2, value ->> 3
       FROM json_each(:rows) RETURNING message, number`,
    )
    .all({ at: spool.clock.wallNow(), rows: jsonText(rows) });
  for (const { message, number } of added) {
    const surplus = number - limits.historyLatest;
    if (surplus <= limits.historyFirst) continue;
    spool.sql('DELETE FROM history WHERE message = ? AND number = ?').run(message, surplus);
  }
}

/** What is known of a message's history, oldest first. */
export function historyOf(spool: Spool, seq: number): HistoryEvent[] {
  return spool
    .sql<HistoryEvent>(
      'SELECT number, at, what, status, reason FROM history WHERE message = ? ORDER BY number',
    )
    .all(seq);
}
