import { deleteBody } from './body.ts';
import { addToHistory } from './history.ts';
import type { RecipientState, Spool } from './spool.ts';

/** What one claim of a message came to. */
export interface Outcome {
  seq: number;
  /** What is known of recipients now. None in an outage. */
  verdicts: {
    position: number;
    state: Extract<RecipientState, 'pending' | 'sent' | 'failed'>;
    status: string;
    reason: string;
    /** Whose SMTP reply the reason is. */
    remoteMta?: string | undefined;
  }[];
  /** Whether the attempt was about this message, and not about the endpoint. */
  charged: boolean;
  /** Whether the proxy that was posted it may have sent it to recipients that stay pending. */
  unanswered?: boolean;
  /** How many delay warnings a sender is due by now (drain --delay-warnings). */
  warnings: number;
  /** When the recipients that stay pending are due again, in observed time. */
  dueAt: number;
  /** What the attempt came to, in one status and sentence. */
  lastStatus: string;
  lastReason: string;
  /** The same for its history, where its recipients fared differently: who was sent, deferred and refused. */
  story?: string | undefined;
}

/**
 * Writes an outcome: recipients first, then the message, which is queued again while one of them is
 * pending and finished otherwise. Runs inside the caller's transaction.
 */
export function record(spool: Spool, outcome: Outcome, now: number): void {
  const { seq, charged, unanswered = false, warnings, dueAt } = outcome;
  const { lastStatus, lastReason, story } = outcome;
  for (const { position, state, status, reason, remoteMta = null } of outcome.verdicts) {
    spool
      .sql(
        `UPDATE recipient SET state = :state, status = :status, reason = :reason, remote_mta = :remoteMta
         WHERE message = :seq AND position = :position AND state = 'pending'`,
      )
      .run({ seq, position, state, status, reason, remoteMta });
  }
  spool
    .sql(
      `UPDATE message SET attempts = attempts + :charge, deferrals = deferrals + :charge,
         last_status = :lastStatus, last_reason = :lastReason,
         posted_to = iif(:unanswered, posted_to, NULL) WHERE seq = :seq`,
    )
    .run({ seq, charge: Number(charged), unanswered: Number(unanswered), lastStatus, lastReason });
  const what = charged ? 'attempt' : 'postponed';
  addToHistory(spool, seq, { what, status: lastStatus, reason: story ?? lastReason });
  if (finish(spool, seq, now)) return;
  if (warnings > 0) oweWarning(spool, seq, warnings);
  spool
    .sql(`UPDATE message SET state = 'queued', due_at = :dueAt WHERE seq = :seq`)
    .run({ seq, dueAt });
}

/**
 * Finishes a message that has no pending recipient: its state follows from theirs, and its body goes
 * unless a failure may still be looked into. Returns false when one is pending.
 */
export function finish(spool: Spool, seq: number, now: number, forget = deleteBody): boolean {
  const states = new Set(
    spool
      .sql<{ state: RecipientState }>('SELECT DISTINCT state FROM recipient WHERE message = ?')
      .all(seq)
      .map(({ state }) => state),
  );
  if (states.has('pending')) return false;
  const state = (['failed', 'deleted', 'bounced', 'sent'] as const).find((each) =>
    states.has(each),
  );
  if (!state) throw new Error(`message ${seq} of the spool has lost its recipients`);
  spool
    .sql(`UPDATE message SET state = :state, due_at = NULL, finished_at = :now WHERE seq = :seq`)
    .run({ seq, state, now });
  if (state === 'sent' || state === 'deleted') forget(spool, seq);
  return true;
}

function oweWarning(spool: Spool, seq: number, warnings: number): void {
  spool
    .sql(
      `INSERT INTO notice (message, kind, sender)
         SELECT seq, 'delay', sender FROM message
         WHERE seq = :seq AND warned < :warnings AND sender <> x''
       ON CONFLICT DO NOTHING`,
    )
    .run({ seq, warnings });
  spool
    .sql('UPDATE message SET warned = max(warned, :warnings) WHERE seq = :seq')
    .run({ seq, warnings });
}
