import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { inCheckout } from '../support/program.ts';

test('test/README.md: each of the 25 bugs of others has its tests, and they are there', () => {
  const rows = readFileSync(inCheckout('test/README.md'), 'utf8')
    .split('\n')
    .filter((line) => /^\| \d/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  for (const [, number, , file, title] of rows) {
    const text = readFileSync(inCheckout(`test/${file}`), 'utf8');
    assert.ok(title && text.includes(title), `${number}: ${file} has no test "${title}"`);
  }
  const numbers = new Set(rows.map(([, number]) => Number(number)));
  assert.deepEqual(
    [...numbers],
    Array.from({ length: 25 }, (_, index) => index + 1),
  );
});
