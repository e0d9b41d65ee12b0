import { limits } from '../limits.ts';
import type { RetryTimes } from './retry-times.ts';

/**
 * How long the endpoint is left alone after the N-th failure in a row (from 1), in milliseconds: 1 s,
 * doubling, at most 60 s, and up to a quarter more, so that many hosts do not come back at once and a
 * long outage costs less than a request a minute. A Retry-After is waited for in full, up to limits.retryAfterMaxMs.
 * `random` is from [0, 1).
 */
export function endpointBackoffMs(
  failures: number,
  random: number,
  retryAfterMs: number | undefined,
): number {
  const wait = doubling(limits.endpointFirstMs, failures, limits.endpointMaxMs);
  const asked = Math.min(retryAfterMs ?? 0, limits.retryAfterMaxMs);
  return Math.max(wait * (1 + limits.endpointJitter * random), asked);
}

/**
 * How long a message waits after its N-th deferral in a row (from 1), in milliseconds: the first wait (30 s), doubling,
 * at most the longest (30 min), ± 20 %. `random` is from [0, 1).
 */
export function messageBackoffMs(
  deferrals: number,
  random: number,
  { firstWaitMs, longestWaitMs }: Omit<RetryTimes, 'lifetimeMs'>,
): number {
  const wait = doubling(firstWaitMs, deferrals, longestWaitMs);
  return Math.round(wait * (1 + limits.jitter * (2 * random - 1)));
}

/** The longest time, in milliseconds from now, for which drain puts off a message. A later due time is of other settings or of a wrong clock. */
export function longestBackoffMs({ longestWaitMs }: Pick<RetryTimes, 'longestWaitMs'>): number {
  return Math.max(longestWaitMs * (1 + limits.jitter), limits.retryAfterMaxMs);
}

/**
 * How long a spool that could not be worked on is left alone after the N-th failure in a row (from 1),
 * in milliseconds: 5 s, doubling, at most a minute.
 */
export function spoolBackoffMs(failures: number): number {
  return doubling(limits.spoolRetryMs, failures, limits.spoolRetryMaxMs);
}

/**
 * How long a report, or all of them, wait after the N-th time in a row (from 1) that the local mail server
 * did not take one, in milliseconds: 10 s, doubling, at most 15 min.
 */
export function reportBackoffMs(failures: number): number {
  return doubling(limits.reportFirstMs, failures, limits.reportMaxMs);
}

function doubling(firstMs: number, count: number, maxMs: number): number {
  // The exponent is bounded, not only the result, so that no count makes it infinite.
  return Math.min(firstMs * 2 ** Math.min(Math.max(count, 1) - 1, 30), maxMs);
}
