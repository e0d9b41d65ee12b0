import { limits } from '../mail/limits.ts';
import type { Spool } from './spool.ts';

/**
 * Does one bounded step of house-keeping: deletes rows of messages finished 30 days ago and bodies of
 * those that failed 5 days ago, gives free pages back to the disk. Returns whether there is more.
 */
export function keepHouse(spool: Spool, now: number): boolean {
  const rows = limits.purgeRows;
  const purged = spool.transaction(
    () =>
      spool
        .sql(
          `DELETE FROM message WHERE seq IN (
             SELECT seq FROM message WHERE finished_at < :before ORDER BY finished_at LIMIT :rows)`,
        )
        .run({ before: now - limits.historyMs, rows }).changes +
      spool
        .sql(
          `DELETE FROM body WHERE message IN (
             SELECT seq FROM message JOIN body ON body.message = seq AND body.part = 0
             WHERE state IN ('failed', 'bounced') AND finished_at < :before LIMIT :rows)`,
        )
        .run({ before: now - limits.failedBodyMs, rows }).changes,
  );
  const spare = spool.spareBytes() > limits.sparePagesBytes;
  if (spare) spool.db.pragma(`incremental_vacuum(${limits.vacuumPages})`);
  return purged > 0 || spare;
}
