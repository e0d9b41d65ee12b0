import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { inCheckout } from './program.ts';

/**
 * Compares a text with a file of the checkout, or with the part of it that `part` matches, so that a change is seen in
 * review. With UPDATE_GOLDEN=1 it is written there instead.
 */
export function assertGolden(path: string, text: string, part?: RegExp): void {
  const file = inCheckout(path);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    writeFileSync(file, part ? readFileSync(file, 'utf8').replace(part, () => text) : text);
    return;
  }
  const golden = readFileSync(file, 'utf8');
  const expected = part ? part.exec(golden)?.[0] : golden;
  assert.equal(text, expected, `${path} differs; UPDATE_GOLDEN=1 writes it anew`);
}
