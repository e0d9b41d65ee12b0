import type { TestContext } from 'node:test';
import { Random as Choices } from '../sim/random.ts';

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
  const choices = new Choices(seed);
  return { below: (end) => choices.below(end) };
}
