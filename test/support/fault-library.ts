import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { compile } from './compile.ts';

/** Compiles a fault, a C file below test/, into a folder, for LD_PRELOAD; returns its path. */
export async function faultLibrary(
  t: TestContext,
  folder: string,
  fault = 'crash/fault-at.c',
): Promise<string> {
  return compile(t, fault, join(folder, 'fault.so'), '-shared', '-fPIC');
}
