import { statuses } from '../mail/enhanced-status.ts';
import { requireSoundTree } from './body.ts';
import { remember } from './history.ts';
import type { Spool } from './spool.ts';

/**
 * Holds a message that is damaged and queued, so that it is not claimed again and again; the others go on.
 * Runs inside the caller's transaction. Throws SqliteError when the bytes of others cannot be read either: then the
 * spool is to be repaired, and nobody need be held.
 */
export function setAside(spool: Spool, seq: number, reason: string): void {
  requireSoundTree(spool, seq);
  const status = statuses.damaged;
  const { changes } = spool
    .sql(
      `UPDATE message SET state = 'held', due_at = NULL, last_status = :status, last_reason = :reason
       WHERE seq = :seq AND state = 'queued'`,
    )
    .run({ seq, status, reason });
  if (changes > 0) remember(spool, seq, { what: 'postponed', status, reason });
}
