import type { TestContext } from 'node:test';
import * as fc from 'fast-check';

/**
 * Checks a property with a fixed seed, which is printed. TEST_SEED=… in the environment tries another, and
 * TEST_RUNS=… tries longer.
 */
export function holds<Values>(t: TestContext, property: fc.IProperty<Values>, runs?: number): void;
export function holds<Values>(
  t: TestContext,
  property: fc.IAsyncProperty<Values>,
  runs?: number,
): Promise<void>;
export function holds<Values>(
  t: TestContext,
  property: fc.IRawProperty<Values>,
  runs = 300,
): Promise<void> | void {
  const seed = Number(process.env['TEST_SEED'] ?? 20_121_127);
  const numRuns = Number(process.env['TEST_RUNS'] ?? runs);
  t.diagnostic(`seed ${seed}, ${numRuns} runs`);
  return fc.assert(property, { seed, numRuns, includeErrorInReport: true });
}
