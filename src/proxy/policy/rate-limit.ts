import { takes } from '../../host/option-values.ts';
import type { Key } from './keyring.ts';

/**
 * Limits the posts of each key to so many a minute, and to as many at once; keys with the same name count together. It is
 * a bucket of tokens that fills steadily, stored as the time at which it will be full (GCRA). A proxy that restarts has
 * forgotten it.
 */
export class RateLimit {
  readonly perMinute: number;
  readonly #fullAt = new Map<string, number>();

  constructor(perMinute: number) {
    this.perMinute = perMinute;
  }

  /**
   * Takes a token of the key. `now` is in milliseconds of the monotonic clock. Returns 0, or in how many milliseconds
   * there will be a token.
   */
  take({ name, secret }: Pick<Key, 'name' | 'secret'>, now: number): number {
    const bucket = name === '' ? `key ${secret.toString('latin1')}` : `name ${name}`;
    const fullAt = Math.max(now, this.#fullAt.get(bucket) ?? now) + MINUTE_MS / this.perMinute;
    const waitMs = fullAt - now - MINUTE_MS;
    if (waitMs >= 1) return waitMs; // Less is an error of rounding.
    this.#fullAt.set(bucket, fullAt);
    return 0;
  }
}

/** Reads NUMBER/min. Throws ValueError. */
export function parseRate(text: string): RateLimit {
  const perMinute = Number(/^(\d{1,9})\/min$/.exec(text)?.[1]);
  if (perMinute > 0) return new RateLimit(perMinute);
  throw takes('a number a minute, such as 60/min,', text);
}

const MINUTE_MS = 60_000;
