import { takes } from '../../host/option-values.ts';
import type { Key } from './keyring.ts';

/**
 * So many posts a minute for each key, keys of the same name together, and at most so many at once: a bucket of tokens that fills
 * steadily, kept as the time at which it would be full (GCRA). A proxy that starts again has forgotten it.
 */
export class RateLimit {
  readonly perMinute: number;
  readonly #fullAt = new Map<string, number>();

  constructor(perMinute: number) {
    this.perMinute = perMinute;
  }

  /**
   * Takes a token of the key's, at a time in milliseconds of a clock that does not jump. Returns 0, or
   * after how many milliseconds there will be one.
   */
  take({ name, secret }: Pick<Key, 'name' | 'secret'>, now: number): number {
    const bucket = name === '' ? `key ${secret.toString('latin1')}` : `name ${name}`;
    const fullAt = Math.max(now, this.#fullAt.get(bucket) ?? now) + MINUTE_MS / this.perMinute;
    const waitMs = fullAt - now - MINUTE_MS;
    if (waitMs >= 1) return waitMs; // Less is but an error of rounding.
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
