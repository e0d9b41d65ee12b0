import { limits } from '../limits.ts';
import { storedTime } from './observed-time.ts';
import type { Database } from './open-database.ts';

/** Observed time as people read it. Nothing may be decided by it, because it follows the wall clock. */
export interface ShownTime {
  /** Observed time, as well as can be said: its program may not have written it down for a while. */
  now: number;
  /** The time of day that observed time stands for, in milliseconds since 1970; null for null. */
  wall: <Time extends number | null>(time: Time) => Time;
}

/** What the observed time of a spool or ledger is at a time of day, which is in milliseconds since 1970. */
export function shownTime({ db }: { db: Database }, wallNow: number): ShownTime {
  return showTime(storedTime(db), wallNow);
}

/** The same by what a database of any kind has written down. */
export function showTime(
  { observedMs, writtenAt }: { observedMs: number; writtenAt: number },
  wallNow: number,
): ShownTime {
  const sinceMs = Math.min(Math.max(0, wallNow - writtenAt), limits.housekeepingMs);
  const now = observedMs + sinceMs;
  return {
    now,
    wall: <Time extends number | null>(time: Time) =>
      (time === null ? null : wallNow + time - now) as Time,
  };
}
