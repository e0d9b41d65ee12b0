import { countOf } from '../host/count-of.ts';
import { recipientsText } from '../host/recipients-text.ts';
import { statuses, statusClass } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import { expiresAt, outageExpiresAt } from '../spool/lifetime.ts';
import type { Outcome } from '../spool/record.ts';
import type { Hold } from '../spool/hold-for-operator.ts';
import type { Verdict } from '../wire/verdicts.ts';
import type { Attempt, Trouble } from './attempt.ts';
import { messageBackoffMs } from './backoff.ts';
import type { RetryTimes } from './retry-times.ts';

/** What decideOutcome makes of an attempt: the Outcome that is recorded, and what the journal says besides. */
export interface DecidedOutcome extends Outcome {
  attempt: Attempt;
  verdicts: (Outcome['verdicts'][number] & RecipientOutcome & { address: string })[];
  /** Recipients about whom nothing is known: they stay as they were. */
  undecided: string[];
  /** Why the message is to be held, if it is. */
  hold?: Hold;
}

/** How drain retries, by its options. */
export interface RetryPolicy {
  /** After how much trouble of its own a message's sender is warned, in milliseconds. */
  delayWarningsMs: readonly number[];
  retryTimes: RetryTimes;
}

/** When something is decided. */
export interface DecisionTime {
  /** Observed time. */
  now: number;
  /** How long the endpoint has been down altogether. */
  outageMs: number;
  /** From [0, 1), to spread what is due at the same time. */
  random: number;
}

/**
 * Decides what an attempt means for the message: which recipients are sent, failed or still pending, and when
 * these are due again. Trouble of the message defers it alone; trouble of the endpoint leaves it as it was, due
 * again when the endpoint is back, after the messages that were not tried; but before them where the proxy only asked for fewer posts. A message that may have been sent is
 * left as it was too, however old it is, and is to be held.
 */
export function decideOutcome(
  attempt: Attempt,
  { now, outageMs, random }: DecisionTime,
  { delayWarningsMs, retryTimes }: RetryPolicy,
): DecidedOutcome {
  const { message, trouble } = attempt;
  const given = new Map(attempt.verdicts.map((verdict) => [verdict.recipient, verdict]));
  const age = {
    ms: now - message.renewedAt,
    isOver: now >= expiresAt(message, outageMs, retryTimes.lifetimeMs),
    isOverByOutage: now >= outageExpiresAt(message, outageMs, retryTimes.lifetimeMs),
  };
  const verdicts: DecidedOutcome['verdicts'] = [];
  const undecided: string[] = [];
  for (const { position, address } of message.recipients) {
    const decided = decideRecipient(given.get(address), trouble, age);
    if (decided) verdicts.push({ position, address, ...decided });
    else undecided.push(address);
  }

  const blameless = isBlameless(trouble) ? trouble : undefined;
  const isDeferred = verdicts.some(({ state }) => state === 'pending');
  const ownTroubleMs = age.ms - Math.max(0, outageMs - message.outageMs);
  const backoffMs = Math.max(
    messageBackoffMs(message.deferrals + 1, random, retryTimes),
    Math.min(trouble?.diagnosis.retryAfterMs ?? 0, limits.retryAfterMaxMs),
  );
  return {
    attempt,
    seq: message.seq,
    verdicts,
    undecided,
    charged: given.size > 0 || !blameless,
    ...(attempt.unanswered && { unanswered: true }),
    warnings: isDeferred ? delayWarningsMs.filter((ms) => ownTroubleMs >= ms).length : 0,
    dueAt: blameless && !isDeferred ? postponedTo(blameless, message, now) : now + backoffMs,
    ...summaryOf(verdicts, trouble),
    ...storyOf(verdicts, blameless?.diagnosis.text),
    ...holdOf(attempt),
  };
}

/** The decision about a recipient, with the status and reason that say why. */
export interface RecipientOutcome extends Pick<
  Verdict,
  'status' | 'reason' | 'remoteMta' | 'sentBefore'
> {
  state: 'sent' | 'pending' | 'failed';
}

/** How old a message is, and whether it is too old by trouble of its own, or too old by outages. */
export interface MessageAge {
  ms: number;
  isOver: boolean;
  isOverByOutage: boolean;
}

/**
 * Decides about one recipient (law 5): only a verdict for it fails it, or old age at an attempt that brought it
 * trouble. Returns undefined where it stays as it was.
 */
export function decideRecipient(
  verdict: Omit<Verdict, 'recipient'> | undefined,
  trouble: Trouble | undefined,
  age: MessageAge,
): RecipientOutcome | undefined {
  if (verdict) return decideByVerdict(verdict, age);
  if (!trouble || trouble.diagnosis.maybeSent) return undefined;
  const reason = trouble.diagnosis.text;
  if (trouble.scope === 'message') {
    const deferred = { status: statuses.trouble, reason };
    return age.isOver ? expired(deferred, age) : { state: 'pending', ...deferred };
  }
  if (trouble.scope === 'endpoint' && age.isOverByOutage) {
    return expired({ status: statuses.unreached, reason }, age);
  }
  return undefined;
}

function decideByVerdict(
  { status, reason, remoteMta, sentBefore }: Omit<Verdict, 'recipient'>,
  age: MessageAge,
): RecipientOutcome {
  const state = STATES[statusClass(status) ?? 'deferred'];
  if (state === 'pending' && age.isOver) return expired({ status, reason }, age);
  const more = { ...(remoteMta && { remoteMta }), ...(sentBefore && { sentBefore }) };
  return { state, status, reason, ...more };
}

function expired(last: Pick<Verdict, 'status' | 'reason'>, { ms }: MessageAge): RecipientOutcome {
  const reason = `not delivered in ${ageText(ms)}; the last answer was ${last.status} ${last.reason}`;
  return { state: 'failed', status: statuses.expired, reason };
}

/** Whether the message has no part in the trouble, and is not charged with it. */
function isBlameless(
  trouble: Trouble | undefined,
): trouble is Trouble & { scope: keyof typeof UNDECIDED } {
  return trouble !== undefined && trouble.scope !== 'message' && !trouble.diagnosis.maybeSent;
}

/** A proxy that asks for fewer posts has begun nothing: the message keeps its place, so that the oldest goes first. */
function postponedTo({ scope }: Trouble, { renewedAt }: Attempt['message'], now: number): number {
  return scope === 'pace' ? Math.min(renewedAt, now) : now;
}

/** The attempt in one status and sentence. */
function summaryOf(
  verdicts: DecidedOutcome['verdicts'],
  trouble: Trouble | undefined,
): Pick<Outcome, 'lastStatus' | 'lastReason'> {
  const reason = trouble?.diagnosis.text ?? '';
  if (isBlameless(trouble)) return { lastStatus: UNDECIDED[trouble.scope], lastReason: reason };
  const worst = verdicts.toSorted((a, b) => SEVERITY[b.state] - SEVERITY[a.state])[0];
  return { lastStatus: worst?.status ?? statuses.trouble, lastReason: worst?.reason ?? reason };
}

/**
 * Names who was sent, deferred and refused, if the recipients differ or some were sent before; `trouble` is what
 * left the others as they were.
 */
function storyOf(
  verdicts: DecidedOutcome['verdicts'],
  trouble: string | undefined,
): Pick<Outcome, 'story'> {
  const isMixed = new Set(verdicts.map(({ state, status }) => `${state} ${status}`)).size > 1;
  const isPlain = !isMixed && !verdicts.some(({ sentBefore }) => sentBefore);
  if (verdicts.length === 0 || (isPlain && trouble === undefined)) return {};
  const text = recipientsText(verdicts);
  return { story: trouble === undefined ? text : `${trouble}; ${text}` };
}

function holdOf({ trouble, damage }: Attempt): Pick<DecidedOutcome, 'hold'> {
  if (damage !== undefined) return { hold: { status: statuses.damaged, reason: damage } };
  if (!trouble?.diagnosis.maybeSent) return {};
  return { hold: { status: statuses.unknown, reason: trouble.diagnosis.text } };
}

/** A pending recipient counts before a failed one, and that before one that is sent. */
const SEVERITY = { sent: 0, failed: 1, pending: 2 } as const;

/** The status of an attempt that ended by trouble in which the message has no part. */
const UNDECIDED = {
  endpoint: statuses.unreached,
  pace: statuses.slower,
  ledger: statuses.unreached,
  stop: statuses.unreached,
} as const;

const STATES = { sent: 'sent', deferred: 'pending', failed: 'failed' } as const;

function ageText(ms: number): string {
  const hours = Math.floor(ms / HOUR_MS);
  return hours < 48 ? countOf(hours, 'hour') : countOf(Math.floor(hours / 24), 'day');
}

const HOUR_MS = 3_600_000;
