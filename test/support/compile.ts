import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { inCheckout, run } from './program.ts';

/** Compiles a C file below test/ with the flags given; returns `output`, its path. */
export async function compile(
  t: TestContext,
  source: string,
  output: string,
  ...flags: string[]
): Promise<string> {
  const warnings = ['-Wall', '-Wextra', '-Werror'];
  const args = [...flags, ...warnings, '-o', output, inCheckout(`test/${source}`), '-ldl'];
  const { code, stderr } = await run(t, '/usr/bin/cc', args);
  assert.equal(code, 0, stderr);
  return output;
}
