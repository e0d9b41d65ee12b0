import type { TestContext } from 'node:test';
import * as fc from 'fast-check';

/**
 * Checks a property with a fixed seed, which is printed. FUZZ_SEED=… in the environment tries another, and
 * FUZZ_RUNS=… tries longer.
 */
export function holds<Values>(t: TestContext, property: fc.IProperty<Values>, runs = 300): void {
  const seed = Number(process.env['FUZZ_SEED'] ?? 20_121_127);
  const numRuns = Number(process.env['FUZZ_RUNS'] ?? runs);
  t.diagnostic(`seed ${seed}, ${numRuns} runs`);
  fc.assert(property, { seed, numRuns, includeErrorInReport: true });
}
