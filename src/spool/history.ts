import { limits } from '../limits.ts';
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

/**
 * Adds an event to the history of a message, of which the first few and the latest are kept. Two rows
 * at the most are touched, however long the history. Runs inside the caller's transaction.
 */
export function addToHistory(
  spool: Spool,
  seq: number,
  {
    what,
    status = null,
    reason = null,
  }: { what: HistoryEventName; status?: string | null; reason?: string | null },
): void {
  const added = spool
    .sql<{ number: number }>(
      `INSERT INTO history (message, number, at, what, status, reason)
       SELECT :seq, coalesce(max(number), 0) + 1, :at, :what, :status, :reason
       FROM history WHERE message = :seq RETURNING number`,
    )
    .get({ seq, at: spool.clock.wallNow(), what, status, reason });
  const surplus = (added?.number ?? 0) - limits.historyLatest;
  if (surplus <= limits.historyFirst) return;
  spool.sql('DELETE FROM history WHERE message = ? AND number = ?').run(seq, surplus);
}

/** What is known of a message's history, oldest first. */
export function historyOf(spool: Spool, seq: number): HistoryEvent[] {
  return spool
    .sql<HistoryEvent>(
      'SELECT number, at, what, status, reason FROM history WHERE message = ? ORDER BY number',
    )
    .all(seq);
}
