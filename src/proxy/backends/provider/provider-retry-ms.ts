import type { Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import { retryAfterMs } from '../../../wire/attempt.ts';
import type { Response } from '../../../wire/exchange.ts';

/** When a provider may be called again: as it says, up to limits.retryAfterMaxMs, or else after `usualMs`. */
export function providerRetryMs(
  { headers }: Pick<Response, 'headers'>,
  usualMs: number,
  clock: Pick<Clock, 'wallNow'>,
): number {
  return Math.min(retryAfterMs(headers, clock) ?? usualMs, limits.retryAfterMaxMs);
}
