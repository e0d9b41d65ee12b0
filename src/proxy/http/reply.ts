import type { Clock } from '../../host/clock.ts';
import { limits } from '../../limits.ts';
import type { Key } from '../policy/keyring.ts';
import type { RateLimit } from '../policy/rate-limit.ts';

/** An answer of the proxy: one plain line for people, unless the headers say otherwise. */
export interface Reply {
  status: number;
  text: string;
  headers?: Record<string, string>;
  /** The body in parts that come as they are known, instead of the text. */
  parts?: AsyncIterable<Buffer>;
  /** The name of the key that signed the request; undefined when no key did, or when nobody looked. */
  key?: string | undefined;
  /** The journal has told it in words of its own, and not for each request. */
  isTold?: boolean;
}

/** 429: nothing was begun, and the client has to make fewer posts. */
export function slower(text: string, waitMs: number): Reply {
  return { status: 429, text, headers: retryAfter(waitMs) };
}

/** 503: nothing is wrong with the request, and the client has to repeat it later. */
export function retryLater(text: string, waitMs: number = limits.proxyRetryAfterMs): Reply {
  return { status: 503, text, headers: retryAfter(waitMs) };
}

/** In whole seconds (RFC 9110 10.2.3). */
function retryAfter(waitMs: number): Record<string, string> {
  return { 'retry-after': String(Math.ceil(waitMs / 1000)) };
}

/** Counts a post of the key; the answer to one that is too many, or undefined. */
export function rateReply(rate: RateLimit | undefined, key: Key, clock: Clock): Reply | undefined {
  const waitMs = rate?.take(key, clock.now()) ?? 0;
  if (!rate || waitMs === 0) return undefined;
  return slower(`more than ${rate.perMinute} posts a minute`, waitMs);
}
