import { createHash } from 'node:crypto';
import type { Database } from '../../sqlite/open-database.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import { FORGOTTEN } from './inspect-spool.ts';
import { describe, nameOf, rowsOf, tracesOf, type Repair, type Traces } from './repair.ts';

/**
 * Makes the rows of messages anew of which only the row is lost, and with it the sender: an operator is to decide. Names
 * those of which more is lost.
 */
export function restoreMessages(db: Database, repair: Repair): void {
  for (const seq of withoutRow(db)) {
    const traces = tracesOf(db, seq);
    const body = bodyOf(db, seq);
    const isPending = hasPending(db, seq);
    if (isOver(traces, body !== undefined || isPending)) continue;
    const isThere = body && isPending && traces.state !== 'failed';
    if (isThere && restore(db, seq, { ...traces, ...body, wallNow: repair.wallNow })) {
      repair.notes.push(`${nameOf(db, seq)} is held: ${SENDER_LOST}`);
    } else if (body || traces.state !== undefined) {
      repair.damaged.push(describe(db, seq, 'its row is lost'));
    } else {
      repair.finishedPerhaps += 1;
      const fault = 'its row and bytes are lost; it may have been finished before';
      repair.damaged.push(describe(db, seq, fault));
    }
  }
}

/** Whether a message was finished, as far as its state tells, or what is left of it. */
function isOver({ state }: Traces, isWaiting: boolean): boolean {
  return state === undefined ? !isWaiting : FORGOTTEN.has(state);
}

/** The numbers of messages whose row is lost. */
function withoutRow(db: Database): number[] {
  return rowsOf<{ seq: number }>(
    db,
    `SELECT DISTINCT seq FROM (SELECT message AS seq FROM body UNION ALL SELECT message FROM recipient
       UNION ALL SELECT message FROM notice UNION ALL SELECT message FROM history
       UNION ALL SELECT seq FROM by_id UNION ALL SELECT seq FROM by_exim_id
       UNION ALL SELECT seq FROM by_state)
     WHERE seq > 0 AND seq NOT IN (SELECT seq FROM message) ORDER BY seq`,
  ).map(({ seq }) => seq);
}

function hasPending(db: Database, seq: number): boolean {
  const sql = `SELECT 1 FROM recipient WHERE message = ? AND state = 'pending'`;
  return rowsOf(db, sql, seq).length > 0;
}

interface Body {
  digest: Buffer;
  size: number;
}

/** Digest and size of the bytes of a message whose row is lost; undefined when some may be missing. */
function bodyOf(db: Database, seq: number): Body | undefined {
  const parts = rowsOf<{ part: number; bytes: Buffer }>(
    db,
    'SELECT part, bytes FROM body WHERE message = ? ORDER BY part',
    seq,
  );
  const hash = createHash('sha256');
  let size = 0;
  for (const [index, { part, bytes }] of parts.entries()) {
    const isFull = bytes.length === limits.bodyPartBytes;
    if (part !== index || isFull === (index === parts.length - 1)) return undefined;
    hash.update(bytes);
    size += bytes.length;
  }
  return parts.length === 0 ? undefined : { digest: hash.digest(), size };
}

/** Returns false when too little is known for a row. */
function restore(
  db: Database,
  seq: number,
  { id, eximId = 'unknown', digest, size, wallNow }: Traces & Body & { wallNow: number },
): boolean {
  if (id === undefined) return false;
  const insert = db.prepare(
    `INSERT OR IGNORE INTO message (seq, id, exim_id, digest, sender, size, state, queued_at,
       posted_at, renewed_at, outage_ms, last_status, last_reason)
     VALUES (:seq, :id, :eximId, :digest, x'', :size, 'held', :wallNow, 0, 0, 0, :status, :fault)`,
  );
  const last = { status: statuses.damaged, fault: SENDER_LOST };
  return insert.run({ seq, id, eximId, digest, size, wallNow, ...last }).changes > 0;
}

const SENDER_LOST =
  'its sender is lost, release sends it with the null sender, so that failures are told to nobody';
