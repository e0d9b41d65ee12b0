import { storedTime } from '../sqlite/observed-time.ts';
import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/**
 * Makes due what was put off until a time that passed while no drain ran, as the wall clock has it, or all where that was
 * stepped back; and what is due later than `longestMs`, the longest backoff in milliseconds, from now: it was put off
 * with other settings. By a wrong clock something is only tried early: nothing becomes older. For a drain that starts.
 */
export function catchUp(spool: Spool, now: number, wallNow: number, longestMs: number): void {
  const awayMs = wallNow - storedTime(spool.db).writtenAt;
  const until = awayMs < 0 ? Number.MAX_SAFE_INTEGER : now + awayMs;
  spool.transaction(() => {
    spool
      .sql(
        `UPDATE message SET due_at = :now
         WHERE state = 'queued' AND due_at > :now AND due_at <= :until`,
      )
      .run({ now, until });
    spool
      .sql(`UPDATE message SET due_at = :now WHERE state = 'queued' AND due_at > :latest`)
      .run({ now, latest: now + longestMs });
    spool
      .sql('UPDATE notice SET due_at = :now WHERE due_at > :now AND due_at <= :until')
      .run({ now, until });
    spool.sql('DELETE FROM told WHERE at < ?').run(until - limits.reportsHourMs);
  });
}
