import { addToHistory } from './history.ts';
import type { Spool } from './spool.ts';

/** Why a message is held though no operator asked for it, and what its last status and reason become. */
export interface Hold {
  status: string;
  reason: string;
}

/**
 * Holds a queued message that is not to be claimed again until an operator has looked at it; the others
 * go on. Runs inside the caller's transaction.
 */
export function holdForOperator(spool: Spool, seq: number, { status, reason }: Hold): void {
  const { changes } = spool
    .sql(
      `UPDATE message SET state = 'held', due_at = NULL, last_status = :status, last_reason = :reason
       WHERE seq = :seq AND state = 'queued'`,
    )
    .run({ seq, status, reason });
  if (changes > 0) addToHistory(spool, { seq, what: 'postponed', status, reason });
}
