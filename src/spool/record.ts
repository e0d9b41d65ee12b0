import { jsonText } from '../sqlite/json-text.ts';
import { deleteBodies } from './body.ts';
import { addToHistory } from './history.ts';
import type { MessageState, RecipientState, Spool } from './spool.ts';

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
 * Writes outcomes, each of another message: recipients first, then the message, which is queued again while one of them
 * is pending and finished otherwise. As many statements for many outcomes as for one. Runs inside the caller's
 * transaction.
 */
export function record(spool: Spool, outcomes: readonly Outcome[], now: number): void {
  if (outcomes.length === 0) return;
  recordVerdicts(spool, outcomes);
  const states = recordAttempts(spool, outcomes, now);
  const events = outcomes.map(({ seq, charged, lastStatus, lastReason, story }) => {
    const what = charged ? ('attempt' as const) : ('postponed' as const);
    return { seq, what, status: lastStatus, reason: story ?? lastReason };
  });
  addToHistory(spool, ...events);
  const done = outcomes.filter(({ seq }) => WITHOUT_BODY.has(states.get(seq)));
  deleteBodies(
    spool,
    done.map(({ seq }) => seq),
  );
  for (const { seq, warnings } of outcomes) {
    if (warnings > 0 && states.get(seq) === 'queued') oweWarning(spool, seq, warnings);
  }
}

function recordVerdicts(spool: Spool, outcomes: readonly Outcome[]): void {
  const rows = outcomes.flatMap(({ seq, verdicts }) =>
    verdicts.map(({ position, state, status, reason, remoteMta }) => {
      return { seq, position, state, status, reason, remoteMta };
    }),
  );
  spool
    .sql(
      `UPDATE recipient SET state = value ->> 'state', status = value ->> 'status',
         reason = value ->> 'reason', remote_mta = value ->> 'remoteMta'
       FROM json_each(:rows)
       WHERE message = value ->> 'seq' AND position = value ->> 'position' AND state = 'pending'`,
    )
    .run({ rows: jsonText(rows) });
}

/** Charges messages with their attempts, and gives them the states that follow; returns these by their numbers. */
function recordAttempts(
  spool: Spool,
  outcomes: readonly Outcome[],
  now: number,
): ReadonlyMap<number, MessageState> {
  const rows = outcomes.map(
    ({ seq, charged, unanswered = false, dueAt, lastStatus, lastReason }) => {
      return [seq, Number(charged), unanswered, dueAt, lastStatus, lastReason];
    },
  );
  const updated = spool
    .sql<{ seq: number; state: MessageState }>(
      `WITH outcome AS MATERIALIZED (
         SELECT value ->> 0 AS message, value ->> 1 AS charge, value ->> 2 AS unanswered, value ->> 3 AS retry_at,
           value ->> 4 AS status, value ->> 5 AS reason,
           (SELECT ${STATE} FROM recipient WHERE message = value ->> 0) AS next
         FROM json_each(:rows))
       UPDATE message SET state = next, due_at = iif(next = 'queued', retry_at, NULL),
         finished_at = iif(next = 'queued', NULL, :now), attempts = attempts + charge,
         deferrals = deferrals + charge, last_status = status, last_reason = reason,
         posted_to = iif(unanswered, posted_to, NULL)
       FROM outcome WHERE seq = outcome.message AND next IS NOT NULL RETURNING seq, state`,
    )
    .all({ now, rows: jsonText(rows) });
  const states = new Map(updated.map(({ seq, state }) => [seq, state]));
  const lost = outcomes.find(({ seq }) => !states.has(seq));
  if (lost) throw lostRecipients(lost.seq);
  return states;
}

/**
 * Finishes a message that has no pending recipient: its state follows from theirs, and its body goes
 * unless a failure may still be looked into. Returns false when one is pending.
 */
export function finish(spool: Spool, seq: number, now: number, forget = deleteBodies): boolean {
  const next = spool
    .sql<{ state: MessageState | null }>(
      `SELECT ${STATE} AS state FROM recipient WHERE message = ?`,
    )
    .get(seq);
  if (!next?.state) throw lostRecipients(seq);
  const { state } = next;
  if (state === 'queued') return false;
  spool
    .sql(`UPDATE message SET state = :state, due_at = NULL, finished_at = :now WHERE seq = :seq`)
    .run({ seq, state, now });
  if (WITHOUT_BODY.has(state)) forget(spool, [seq]);
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

/** SQL: the state of a message that follows from the states of its recipients; NULL when it has none. */
const STATE = `CASE WHEN max(state = 'pending') THEN 'queued' WHEN max(state = 'failed') THEN 'failed'
  WHEN max(state = 'deleted') THEN 'deleted' WHEN max(state = 'bounced') THEN 'bounced'
  WHEN max(state = 'sent') THEN 'sent' END`;

/** Nobody wants to look into the bytes of such a message. */
const WITHOUT_BODY: ReadonlySet<MessageState | undefined> = new Set(['sent', 'deleted']);

function lostRecipients(seq: number): Error {
  return new Error(`message ${seq} of the spool has lost its recipients`);
}
