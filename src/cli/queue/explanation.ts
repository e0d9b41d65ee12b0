import { showDuration } from '../../host/duration.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import type { EndpointRecord } from '../../spool/endpoint.ts';
import type { HistoryEvent } from '../../spool/history.ts';
import type { Listed } from '../../spool/list.ts';
import type { ShownTime } from '../../sqlite/shown-time.ts';
import type { Transfer } from '../../spool/transfer.ts';

/** What an explanation is made of. */
export interface Facts {
  message: Listed;
  history: readonly HistoryEvent[];
  endpoint: EndpointRecord;
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
}

/** Explains a message from what the spool knows of it, with times in the given form. Foreign text is as it is. */
export function explain(facts: Facts, timeText: (ms: number) => string): Explanation {
  return explanations[facts.message.state](facts, timeText);
}

const explanations: Record<
  Listed['state'],
  (facts: Facts, timeText: (ms: number) => string) => Explanation
> = {
  queued,
  sending,
  held,
  failed,
  sent: ({ message }) => ({
    why: 'the proxy took it for every recipient',
    ...forgotten(message, 'it is forgotten'),
  }),
  bounced: ({ message }) => ({
    why: 'it failed, and its sender was told',
    ...failedBody(message),
  }),
  deleted: ({ message, history, transfer }, timeText) => ({
    why: deletedBecause(history, transfer, timeText),
    ...forgotten(message, 'it is forgotten'),
  }),
};

function queued(
  { message, history, endpoint, drainRuns, shown }: Facts,
  timeText: (ms: number) => string,
): Explanation {
  const { now } = shown;
  const why = waitsBecause(message, history, endpoint, shown, timeText);
  if (!drainRuns) {
    return { why: `${why}; and no drain runs`, next: NO_DRAIN, nextAt: null };
  }
  const { asksAt, downSince } = endpoint;
  if (downSince !== null) {
    const at = asksAt === null || asksAt < now ? null : asksAt;
    const when = at === null ? 'again and again' : 'then';
    return { why, next: `drain asks the proxy ${when}, and sends when it is back`, nextAt: at };
  }
  const dueAt = Math.max(message.dueAt ?? now, now);
  const last = message.expiresAt !== null && dueAt >= message.expiresAt;
  const next = message.attempts === 0 ? 'it is sent' : `attempt ${message.attempts + 1}`;
  return { why, next: last ? `${next}, which is the last` : next, nextAt: dueAt };
}

function waitsBecause(
  { attempts, dueAt, lastStatus, lastReason }: Listed,
  history: readonly HistoryEvent[],
  { downSince, reason }: EndpointRecord,
  { now, wall }: ShownTime,
  timeText: (ms: number) => string,
): string {
  if (downSince !== null) {
    return `the proxy is down since ${timeText(wall(downSince))} (for ${showDuration(now - downSince)}): ${reason}`;
  }
  if (history.length === 0) return 'it is new';
  if (dueAt !== null && dueAt > now && lastStatus !== null) {
    return `it was put off after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}: ${lastStatus} ${lastReason}`;
  }
  return 'it is due, and waits for its turn';
}

function sending({ drainRuns }: Facts): Explanation {
  return drainRuns
    ? {
        why: 'it is being sent',
        next: 'its outcome is recorded when the proxy answers',
        nextAt: null,
      }
    : { why: 'it was being sent when drain died', next: NO_DRAIN, nextAt: null };
}

function held(
  { history, message, transfer }: Facts,
  timeText: (ms: number) => string,
): Explanation {
  if (transfer?.what === 'export') {
    return {
      why: `it was exported into ${transfer.file} at ${timeText(transfer.at)}, and another queue may have it`,
      next: 'nothing, until an operator says `queue export --confirm FILE` or --take-back FILE',
      nextAt: null,
    };
  }
  const last = history.findLast(
    ({ what, status }) => ['hold', 'return', 'kept'].includes(what) || HELD_BY_DRAIN.has(status),
  );
  const next = 'nothing, until an operator releases, returns, bounces or deletes it';
  if (last?.what === 'kept') {
    return {
      why: `it was to be returned, and Exim did not take it: ${last.reason}`,
      next,
      nextAt: null,
    };
  }
  if (last?.what === 'return') {
    const why =
      'it is being returned to Exim; or that was cut off, and Exim has it or not: its log knows the recipients';
    return { why, next, nextAt: null };
  }
  if (message.lastStatus === statuses.damaged) {
    return { why: `it is damaged: ${message.lastReason}`, next, nextAt: null };
  }
  if (last?.what === 'postponed') {
    return { why: `nobody knows whether it was sent: ${last.reason}`, next, nextAt: null };
  }
  if (transfer?.what === 'import' && history.length === 0) {
    const said = message.lastReason === null ? '' : `; before that: ${message.lastReason}`;
    return {
      why: `it was held, or is old, in the queue that it was imported from${said}`,
      next,
      nextAt: null,
    };
  }
  return { why: 'an operator holds it', next, nextAt: null };
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
      ? 'it failed, and has no sender who could be told'
      : 'it failed, and the mail server of this host refused the report to its sender';
  const next = 'it is deleted; until then an operator may retry or return it';
  return { why, ...forgotten(message, next, limits.failedBodyMs) };
}

/** Part of a message may have been returned before the rest was deleted. */
function deletedBecause(
  history: readonly HistoryEvent[],
  transfer: Transfer | undefined,
  timeText: (ms: number) => string,
): string {
  if (transfer?.what === 'export') {
    return `it was exported into ${transfer.file} at ${timeText(transfer.at)}, and another queue has it`;
  }
  const last = history.findLast(({ what }) => what === 'returned' || what === 'delete');
  if (last?.what === 'returned') return 'an operator returned it to Exim, which has it';
  if (last?.what === 'delete') return 'an operator deleted it';
  return 'it failed and nobody could be told; so it was kept to be looked into, and then deleted';
}

/** A failure may be looked into, and retried, while its body is there. */
function failedBody(message: Listed): Pick<Explanation, 'next' | 'nextAt'> {
  return forgotten(
    message,
    'its body is removed; until then an operator may retry or return it',
    limits.failedBodyMs,
  );
}

function forgotten(
  { finishedAt }: Listed,
  next: string,
  afterMs: number = limits.historyMs,
): Pick<Explanation, 'next' | 'nextAt'> {
  return { next, nextAt: finishedAt === null ? null : finishedAt + afterMs };
}

const NO_DRAIN = 'nothing, until drain runs: start the service appengine-mailer';
