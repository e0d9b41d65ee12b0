import { enqueue } from '../../src/spool/enqueue.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { handOver } from './hand-over.ts';

/**
 * Fills an empty spool with so many queued messages, whose Exim ids are many-1, many-2, …, one queued
 * each millisecond until `now`. The first is enqueued, the others are its likes: SQLite makes them faster. Their ids
 * are UUIDs of version 7 in the order in which they were queued, as those of new-id.ts are.
 */
export function fillSpool(
  spool: Spool,
  rows: number,
  { now, message, host = 0 }: { now: number; message?: Buffer | string; host?: number },
): void {
  enqueue(spool, handOver({ eximId: 'many-1', message }), now - rows);
  for (let first = 2; first <= rows; first += BATCH) {
    const last = Math.min(rows, first + BATCH - 1);
    spool.transaction(() => {
      for (const like of LIKES) spool.sql(like).run({ first, last, host });
    });
  }
  spool.db.pragma('wal_checkpoint(TRUNCATE)');
}

const BATCH = 10_000;
const LIKES = [
  `WITH RECURSIVE number (n) AS (VALUES (CAST(:first AS INTEGER)) UNION ALL SELECT n + 1 FROM number WHERE n < :last)
   INSERT INTO message
     (seq, id, exim_id, digest, sender, size, state, queued_at, due_at, renewed_at, outage_ms)
   SELECT n, printf('%012x7%03x8%015x', queued_at + n, :host, n), 'many-' || n, digest, sender, size, state, queued_at + n,
     due_at + n, renewed_at + n, outage_ms
   FROM number, message WHERE seq = 1`,
  `INSERT INTO body (message, part, bytes) SELECT seq, part, bytes FROM message, body
   WHERE seq BETWEEN :first AND :last AND body.message = 1`,
  `INSERT INTO recipient (message, position, address) SELECT seq, position, address
   FROM message, recipient WHERE seq BETWEEN :first AND :last AND recipient.message = 1`,
];
