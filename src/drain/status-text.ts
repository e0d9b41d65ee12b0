import { showDuration } from '../host/duration.ts';
import { fallbackText } from '../spool/endpoint.ts';
import type { Stats } from '../spool/stats.ts';

/**
 * The queue and its endpoint in one line, for `systemctl status`. `now` is observed time, `wallNow` is in milliseconds
 * since 1970.
 */
export function statusText({ counters, endpoint }: Stats, now: number, wallNow: number): string {
  const { queued, sending, held, failed } = counters;
  const { downSince, reason, passedAt, fallback } = endpoint;
  const depth = [
    `${queued} queued`,
    `${sending} being sent`,
    ...(held > 0 ? [`${held} held`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ].join(', ');
  if (downSince !== null) {
    return `${depth}; the proxy is down for ${showDuration(now - downSince)}: ${reason}`;
  }
  if (passedAt === null) return `${depth}; no post has passed yet`;
  const passed = `${depth}; the last post passed ${showDuration(wallNow - passedAt)} ago`;
  return fallback ? `${passed}; ${fallbackText(fallback)}` : passed;
}
