import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { inCheckout } from './program.ts';

/** Compares a text with a file of the checkout; with UPDATE_GOLDEN=1 the file is written instead. */
export function golden(path: string, text: string): void {
  const file = inCheckout(path);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return;
  }
  const hint = `${path} differs; if that is wanted: UPDATE_GOLDEN=1 node test/run.mjs test/cli`;
  assert.equal(text, readFileSync(file, 'utf8'), hint);
}
