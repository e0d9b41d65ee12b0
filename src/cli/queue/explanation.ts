import { countOf } from '../../host/count-of.ts';
import { showDuration } from '../../host/duration.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import type { EndpointRecord } from '../../spool/endpoint.ts';
import type { HistoryEvent } from '../../spool/history.ts';
import type { Listed } from '../../spool/list.ts';
import type { PostedTo } from '../../spool/posted-to.ts';
import type { ShownTime } from '../../sqlite/shown-time.ts';
import type { Transfer } from '../../spool/transfer.ts';

/** What an explanation is made of. */
export interface Facts {
  message: Listed;
  history: readonly HistoryEvent[];
  endpoint: EndpointRecord;
  /** The proxy that may have sent it without an answer, if there is one. */
  unansweredBy: PostedTo | undefined;
  /** Whether its sender is still to be told of a failure. */
  reportOwed: boolean;
  /** Whether a drain is at work on the spool. */
  drainRuns: boolean;
  shown: ShownTime;
  /** The latest export or import that it was part of. */
  transfer: Transfer | undefined;
}

/** Why a message is where it is, and what becomes of it. */
export interface Explanation {
  why: string;
  next: string;
  /** When that is, in observed time; null when nobody can say. */
  nextAt: number | null;
  /** What follows `next` and its time in the sentence; without it, nothing. */
  nextRest?: string;
}

/** Explains a message from what the spool knows of it, with times in the given form. Foreign text is as it is. */
export function explain(facts: Facts, timeText: TimeText): Explanation {
  return explanations[facts.message.state](facts, timeText);
}

/** Milliseconds since 1970 for people. */
type TimeText = (ms: number) => string;

const explanations: Record<Listed['state'], (facts: Facts, timeText: TimeText) => Explanation> = {
  queued,
  sending,
  held: (facts, timeText) => ({
    why: heldBecause(facts, timeText),
    next:
      facts.transfer?.what === 'export'
        ? 'nothing, until an operator runs `queue export --confirm FILE` or --take-back FILE'
        : 'nothing, until an operator releases, returns, bounces or deletes it',
    nextAt: null,
  }),
  failed,
  sent: ({ message }) => ({
    why: 'the proxy took it for every recipient',
    ...forgotten(message, 'it is forgotten'),
  }),
  bounced: ({ message }) => ({
    why: 'it failed, and its sender was told',
    ...forgotten(message, 'its body is removed', limits.failedBodyMs),
    nextRest: UNTIL_THEN,
  }),
  deleted: (facts, timeText) => ({
    why: deletedBecause(facts, timeText),
    ...forgotten(facts.message, 'it is forgotten'),
  }),
};

function queued(facts: Facts, timeText: TimeText): Explanation {
  const { message, endpoint, unansweredBy, drainRuns, shown } = facts;
  const why = waitsBecause(facts, timeText);
  if (!drainRuns) {
    return { why: `${why}; and no drain is running`, next: NO_DRAIN, nextAt: null };
  }
  const { asksAt, downSince } = endpoint;
  if (downSince !== null) {
    const at = asksAt === null || asksAt < shown.now ? null : asksAt;
    const next = at === null ? 'drain asks the proxy again and again' : 'drain asks the proxy';
    return { why, next, nextAt: at, nextRest: ', and sends when it is back' };
  }
  const dueAt = Math.max(message.dueAt ?? shown.now, shown.now);
  const isLast = message.expiresAt !== null && dueAt >= message.expiresAt;
  const attempt = message.attempts === 0 ? 'it is sent' : `attempt ${message.attempts + 1}`;
  const next = unansweredBy ? `${attempt}, ${onlyBy(unansweredBy)}` : attempt;
  return { why, next, nextAt: dueAt, ...(isLast && { nextRest: ', which is the last attempt' }) };
}

/** No other proxy knows whether the message was sent. */
function onlyBy({ url }: PostedTo): string {
  return `by ${url}, which was posted it and has not answered, or by a proxy with the same ledger`;
}

function waitsBecause({ message, history, endpoint, shown }: Facts, timeText: TimeText): string {
  const { attempts, dueAt, lastStatus, lastReason } = message;
  const { downSince, reason } = endpoint;
  const { now, wall } = shown;
  if (downSince !== null) {
    const duration = showDuration(now - downSince);
    return `the proxy has been down since ${timeText(wall(downSince))} (for ${duration}): ${reason}`;
  }
  if (history.length === 0) return 'it is new';
  if (dueAt !== null && dueAt > now && lastStatus !== null) {
    return `it was deferred after ${countOf(attempts, 'attempt')}: ${lastStatus} ${lastReason}`;
  }
  return 'it is due, and waits for its turn';
}

function sending({ drainRuns }: Facts): Explanation {
  const next = 'its outcome is recorded when the proxy answers';
  if (drainRuns) return { why: 'it is being sent', next, nextAt: null };
  return { why: 'it was being sent when drain died', next: NO_DRAIN, nextAt: null };
}

function heldBecause(facts: Facts, timeText: TimeText): string {
  for (const reason of reasonsToHold) {
    const text = reason(facts, timeText);
    if (text !== undefined) return text;
  }
  return 'an operator holds it';
}

/** Why a message may be held; the first that applies counts. */
const reasonsToHold: readonly ((facts: Facts, timeText: TimeText) => string | undefined)[] = [
  ({ transfer }, timeText) =>
    transfer?.what === 'export'
      ? `it was exported into ${transfer.file} at ${timeText(transfer.at)}, and another queue may have it`
      : undefined,
  (facts) => {
    const last = lastHold(facts);
    if (last?.what === 'kept') {
      return `it was to be returned, and Exim did not take it: ${last.reason}`;
    }
    return last?.what === 'return'
      ? 'it is being returned to Exim; or that was interrupted, and Exim may have it: its log knows the recipients'
      : undefined;
  },
  ({ message }) =>
    message.lastStatus === statuses.damaged ? `it is damaged: ${message.lastReason}` : undefined,
  (facts) => {
    const last = lastHold(facts);
    return last?.what === 'postponed'
      ? `nobody knows whether it was sent: ${last.reason}`
      : undefined;
  },
  ({ transfer, history, message: { lastReason } }) => {
    if (transfer?.what !== 'import' || history.length > 0) return undefined;
    const before = lastReason === null ? '' : `; before that: ${lastReason}`;
    return `it was held, or is old, in the queue that it was imported from${before}`;
  },
];

/** The last event by which the message may have come to be held. */
function lastHold({ history }: Facts): HistoryEvent | undefined {
  return history.findLast(
    ({ what, status }) => ['hold', 'return', 'kept'].includes(what) || HELD_BY_DRAIN.has(status),
  );
}

/** The statuses of what drain holds by itself. */
const HELD_BY_DRAIN = new Set<string | null>([statuses.damaged, statuses.unknown]);

function failed({ message, reportOwed }: Facts): Explanation {
  if (reportOwed) {
    const next =
      'drain hands the report to the mail server of this host, again and again until it is taken';
    return { why: 'it failed, and its sender is owed a report', next, nextAt: null };
  }
  const why =
    message.sender === ''
      ? 'it failed, and there is no sender to report to'
      : 'it failed, and the mail server of this host refused the report to its sender';
  return {
    why,
    ...forgotten(message, 'it is deleted', limits.failedBodyMs),
    nextRest: UNTIL_THEN,
  };
}

/** Part of a message may have been returned before the rest was deleted. */
function deletedBecause({ history, transfer }: Facts, timeText: TimeText): string {
  if (transfer?.what === 'export') {
    return `it was exported into ${transfer.file} at ${timeText(transfer.at)}, and another queue has it`;
  }
  const last = history.findLast(({ what }) => what === 'returned' || what === 'delete');
  if (last?.what === 'returned') return 'an operator returned it to Exim, which has it';
  if (last?.what === 'delete') return 'an operator deleted it';
  return 'it failed and its sender could not be told; it was kept for inspection, and then deleted';
}

function forgotten(
  { finishedAt }: Listed,
  next: string,
  afterMs: number = limits.historyMs,
): Pick<Explanation, 'next' | 'nextAt'> {
  return { next, nextAt: finishedAt === null ? null : finishedAt + afterMs };
}

const UNTIL_THEN = '; until then an operator may retry or return it';
const NO_DRAIN = 'nothing, until drain is running: start the service appengine-mailer';
