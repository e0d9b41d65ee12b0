import { catchUp } from '../spool/catch-up.ts';
import { recoverClaimed } from '../spool/claim.ts';
import { setLifetime } from '../spool/lifetime.ts';
import type { Spool } from '../spool/spool.ts';
import { longestBackoffMs } from './backoff.ts';
import type { RetryTimes } from './retry-times.ts';

/**
 * What a drain that starts does first: what waits does so by its options, and what was in flight when another drain died
 * is due again. Returns how many messages these were.
 */
export function takeOver(spool: Spool, retryTimes: RetryTimes): number {
  setLifetime(spool, retryTimes.lifetimeMs);
  catchUp(spool, spool.now(), Date.now(), longestBackoffMs(retryTimes));
  return recoverClaimed(spool, spool.now());
}
