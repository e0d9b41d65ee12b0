import { catchUp } from '../spool/catch-up.ts';
import { recoverClaimed } from '../spool/claim.ts';
import { setLifetime } from '../spool/lifetime.ts';
import type { Spool } from '../spool/spool.ts';
import { longestBackoffMs } from './backoff.ts';
import type { RetryTimes } from './retry-times.ts';

/**
 * Prepares the spool for a drain that starts: its options decide how long messages wait, and what was in flight when
 * another drain died is due again. Returns how many messages these were.
 */
export function takeOver(spool: Spool, retryTimes: RetryTimes): number {
  // First: it reads when something was written last.
  catchUp(spool, spool.now(), spool.clock.wallNow(), longestBackoffMs(retryTimes));
  setLifetime(spool, retryTimes.lifetimeMs);
  return recoverClaimed(spool, spool.now());
}
