import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { inCheckout, run } from './program.ts';

/** Compiles a fault, a C file below test/, into a folder, for LD_PRELOAD; returns its path. */
export async function faultLibrary(
  t: TestContext,
  folder: string,
  fault = 'crash/fault-at.c',
): Promise<string> {
  const library = join(folder, 'fault.so');
  const source = inCheckout(`test/${fault}`);
  const flags = ['-shared', '-fPIC', '-Wall', '-Wextra', '-Werror'];
  const { code, stderr } = await run(t, '/usr/bin/cc', [...flags, '-o', library, source, '-ldl']);
  assert.equal(code, 0, stderr);
  return library;
}
