import type { RetryTimes } from '../../src/drain/retry-times.ts';
import { limits } from '../../src/limits.ts';

/** What drain has without options. */
export const usualRetryTimes: RetryTimes = {
  lifetimeMs: limits.lifetimeMs,
  firstWaitMs: limits.messageFirstMs,
  longestWaitMs: limits.messageMaxMs,
};
