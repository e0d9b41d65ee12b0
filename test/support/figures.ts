import { appendFileSync } from 'node:fs';
import type { TestContext } from 'node:test';

/** Whether the long form of a test is wanted (npm run test:long). */
export const LONG = process.env['LONG'] === '1';

/** The time that a test may take, in milliseconds, given that of its short form. */
export function timeLimit(shortMs: number): number {
  return LONG ? 2 * 3_600_000 : shortMs;
}

/** Prints what a test measured, and keeps it for the table at the end of the long run. */
export function figures(t: TestContext, what: string, measured: Record<string, number>): void {
  const texts = Object.entries(measured).map(([name, figure]) => `${name} ${figure}`);
  t.diagnostic(`${what}: ${texts.join(', ')}`);
  const table = process.env['LONG_FIGURES'];
  if (table) appendFileSync(table, `${JSON.stringify({ what, figures: measured })}\n`);
}
