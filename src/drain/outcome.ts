import { countOf } from '../host/count-of.ts';
import { recipientsText } from '../host/recipients-text.ts';
import { statuses, statusClass } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import type { Claimed } from '../spool/claim.ts';
import { expiresAt, outageExpiresAt } from '../spool/lifetime.ts';
import type { Outcome } from '../spool/record.ts';
import type { Hold } from '../spool/hold-for-operator.ts';
import type { Verdict } from '../wire/verdicts.ts';
import { messageBackoffMs } from './backoff.ts';
import type { Delivery } from './courier.ts';
import type { RetryTimes } from './retry-times.ts';

/** What an outcome depends on besides the message and its delivery. */
export interface Circumstances {
  /** Observed time. */
  now: number;
  /** The endpoint's outage counter. */
  outageMs: number;
  /** From [0, 1). */
  random: number;
  /** After how much trouble of its own a message's sender is warned. */
  delayWarningsMs: readonly number[];
  retryTimes: RetryTimes;
}

/** An outcome, with what the journal tells of it. */
export interface ToldOutcome extends Outcome {
  verdicts: (Outcome['verdicts'][number] & Pick<Verdict, 'sentBefore'> & { address: string })[];
  /** Recipients of which nothing is known: they are as they were. */
  undecided: string[];
}

/**
 * What a delivery means for the message: for each recipient sent, failed or still pending, and when it
 * is due again. Only a verdict or old age fails a recipient (law 5). Trouble of the message defers it
 * alone; trouble of the endpoint leaves it as it was, due again when the endpoint is back, after the
 * messages that were not tried. What may have been sent is left as it was too, however old, to be held.
 */
export function decideOutcome(
  message: Claimed,
  { verdicts, trouble }: Delivery,
  { now, outageMs, random, delayWarningsMs, retryTimes }: Circumstances,
): ToldOutcome {
  const given = new Map(verdicts.map((verdict) => [verdict.recipient, verdict]));
  const text = trouble?.meaning.text ?? '';
  const maybeSent = trouble?.meaning.maybeSent === true;
  const { lifetimeMs } = retryTimes;
  const tooOld = now >= expiresAt(message, outageMs, lifetimeMs);
  const tooOldForOutage = now >= outageExpiresAt(message, outageMs, lifetimeMs);

  const decided = message.recipients.flatMap(({ position, address }) => {
    const verdict = given.get(address);
    if (verdict) return decide(verdict, tooOld);
    if (maybeSent) return [];
    if (trouble?.of === 'message')
      return decide({ status: statuses.trouble, reason: text }, tooOld);
    if (trouble?.of === 'endpoint' && tooOldForOutage) {
      return decide({ status: statuses.unreached, reason: text }, true);
    }
    return [];

    function decide(verdict: Omit<Verdict, 'recipient'>, tooOld: boolean) {
      const { status, reason, remoteMta, sentBefore } = verdict;
      const state = STATES[statusClass(status) ?? 'deferred'];
      if (state !== 'pending' || !tooOld) {
        const more = { ...(remoteMta && { remoteMta }), ...(sentBefore && { sentBefore }) };
        return { position, address, state, status, reason, ...more };
      }
      const story = `not delivered in ${ageText(now - message.renewedAt)}; the last answer was ${status} ${reason}`;
      return {
        position,
        address,
        state: 'failed' as const,
        status: statuses.expired,
        reason: story,
      };
    }
  });

  const told = new Set(decided.map(({ address }) => address));
  const addresses = message.recipients.map(({ address }) => address);
  const blameless = trouble && trouble.of !== 'message' && !maybeSent ? trouble.of : undefined;
  const deferred = decided.some(({ state }) => state === 'pending');
  const worst = decided.toSorted((a, b) => SEVERITY[b.state] - SEVERITY[a.state])[0];
  const retryAfterMs = Math.min(trouble?.meaning.retryAfterMs ?? 0, limits.retryAfterMaxMs);
  const ownTroubleMs = now - message.renewedAt - Math.max(0, outageMs - message.outageMs);
  const backoffMs = Math.max(
    messageBackoffMs(message.deferrals + 1, random, retryTimes),
    retryAfterMs,
  );
  return {
    seq: message.seq,
    verdicts: decided,
    undecided: addresses.filter((address) => !told.has(address)),
    charged: given.size > 0 || !blameless,
    warnings: deferred ? delayWarningsMs.filter((ms) => ownTroubleMs >= ms).length : 0,
    dueAt: blameless && !deferred ? now : now + backoffMs,
    lastStatus: blameless ? UNDECIDED[blameless] : (worst?.status ?? statuses.trouble),
    lastReason: blameless ? text : (worst?.reason ?? text),
    ...storyOf(decided, blameless && text),
  };
}

/** Who was sent, put off and refused, where not all fared alike or some were sent before; `trouble` is what left the others as they were. */
function storyOf(
  decided: ToldOutcome['verdicts'],
  trouble: string | undefined,
): Pick<Outcome, 'story'> {
  const isMixed = new Set(decided.map(({ state, status }) => `${state} ${status}`)).size > 1;
  const isPlain = !isMixed && !decided.some(({ sentBefore }) => sentBefore);
  if (decided.length === 0 || (isPlain && trouble === undefined)) return {};
  const told = recipientsText(decided);
  return { story: trouble === undefined ? told : `${trouble}; ${told}` };
}

/** Why the message is to be held, if it is; `damage` is what is wrong with its bytes in the spool. */
export function holdOf({ trouble }: Delivery, damage: string | undefined): Hold | undefined {
  if (damage !== undefined) return { status: statuses.damaged, reason: damage };
  if (!trouble?.meaning.maybeSent) return undefined;
  return { status: statuses.unknown, reason: trouble.meaning.text };
}

/** What is still to be done is told before what failed, and that before what is done. */
const SEVERITY = { sent: 0, failed: 1, pending: 2 } as const;

/** The status of an attempt that ended by trouble that is not the message's. */
const UNDECIDED = {
  endpoint: statuses.unreached,
  pace: statuses.slower,
  nobody: statuses.unreached,
} as const;

const STATES = { sent: 'sent', deferred: 'pending', failed: 'failed' } as const;

function ageText(ms: number): string {
  const hours = Math.floor(ms / HOUR_MS);
  return hours < 48 ? countOf(hours, 'hour') : countOf(Math.floor(hours / 24), 'day');
}

const HOUR_MS = 3_600_000;
