import { limits } from '../limits.ts';
import { finish } from './record.ts';
import type { Spool } from './spool.ts';

/**
 * Does one bounded step of house-keeping: deletes rows of messages finished 30 days ago, and bodies of
 * those that bounced 5 days ago; makes deleted what failed 5 days ago and has nobody to be told; gives
 * free pages back to the disk. Returns whether there is more.
 */
export function keepHouse(spool: Spool, now: number): boolean {
  const rows = limits.purgeRows;
  const purged = spool.transaction(
    () =>
      spool
        .sql(
          `DELETE FROM message WHERE seq IN (
             SELECT seq FROM message WHERE finished_at < :before AND ${NOTHING_OWED}
             ORDER BY finished_at LIMIT :rows)`,
        )
        .run({ before: now - limits.historyMs, rows }).changes +
      deleteFailed(spool, now) +
      spool
        .sql(
          `DELETE FROM body WHERE message IN (
             SELECT seq FROM message JOIN body ON body.message = seq AND body.part = 0
             WHERE state = 'bounced' AND finished_at < :before LIMIT :rows)`,
        )
        .run({ before: now - limits.failedBodyMs, rows }).changes,
  );
  const spare = spool.spareBytes() > limits.sparePagesBytes;
  if (spare) spool.db.pragma(`incremental_vacuum(${limits.vacuumPages})`);
  return purged > 0 || spare;
}

/** What failed and cannot be reported, for want of a sender or of somebody who takes the report. */
function deleteFailed(spool: Spool, now: number): number {
  const failed = spool
    .sql<{ seq: number }>(
      `SELECT seq FROM message INDEXED BY message_failed
       WHERE state = 'failed' AND finished_at < :before AND ${NOTHING_OWED}
       ORDER BY finished_at LIMIT :rows`,
    )
    .all({ before: now - limits.failedBodyMs, rows: limits.purgeRows });
  for (const { seq } of failed) {
    spool
      .sql(`UPDATE recipient SET state = 'deleted' WHERE message = ? AND state = 'failed'`)
      .run(seq);
    finish(spool, seq, now);
  }
  return failed.length;
}

const NOTHING_OWED = 'NOT EXISTS (SELECT 1 FROM notice WHERE notice.message = seq)';
