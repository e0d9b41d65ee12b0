import type { TestContext } from 'node:test';

/** Random choices. */
export interface Random {
  /** A whole number from 0 to before `end`. */
  below: (this: void, end: number) => number;
}

/** Random choices of a test, the same for the same seed; the seed is printed. TEST_SEED=… sets it. */
export function random(t: TestContext, usual = 20_121_127): Random {
  const seed = Number(process.env['TEST_SEED'] ?? usual);
  t.diagnostic(`seed ${seed}`);
  return generator(seed);
}

/** Random choices, the same for the same seed. */
export function generator(seed: number): Random {
  let state = seed;
  // Mulberry32: enough for choosing a victim, not for a secret.
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { below: (end) => Math.floor(next() * end) };
}
