import type { TestContext } from 'node:test';
import * as fc from 'fast-check';

/** Checks a property with a fixed seed, which is printed; SEED=… in the environment tries another. */
export function holds<Values>(t: TestContext, property: fc.IProperty<Values>, runs = 300): void {
  const seed = Number(process.env['SEED'] ?? 20_121_127);
  t.diagnostic(`seed ${seed}, ${runs} runs`);
  fc.assert(property, { seed, numRuns: runs, includeErrorInReport: true });
}
