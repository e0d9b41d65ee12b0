import { limits } from '../../limits.ts';

/** An answer of the proxy: one plain line for people, unless the headers say otherwise. */
export interface Reply {
  status: number;
  text: string;
  headers?: Record<string, string>;
  /** The name of the key that signed the request; undefined when none did, or when nobody looked. */
  key?: string | undefined;
}

/** 429: nothing was begun, and the client is to make fewer posts. */
export function slower(text: string, waitMs: number): Reply {
  const headers = { 'retry-after': String(Math.ceil(waitMs / 1000)) };
  return { status: 429, text, headers };
}

/** 503: nothing is wrong with the request, and it is to come again. */
export function retryLater(text: string, waitMs: number = limits.proxyRetryAfterMs): Reply {
  return { status: 503, text, headers: { 'retry-after': String(waitMs / 1000) } };
}
