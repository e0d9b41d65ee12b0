import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { asEximTakesLines } from '../../src/cli/queue/as-exim-takes-lines.ts';

const text = (parts: readonly string[]) =>
  Buffer.concat([...asEximTakesLines(parts.map((part) => Buffer.from(part)))]).toString();

test('the CR before the first LF is left out, and nothing else, wherever the parts of a message begin (law 3)', () => {
  const part = fc.array(fc.constantFrom('a', '\r', '\n', '.'), { maxLength: 5 });
  const parts = fc.array(part, { maxLength: 6 });
  fc.assert(
    fc.property(parts, (all) => {
      const texts = all.map((each) => each.join(''));
      assert.equal(text(texts), texts.join('').replace(/^([^\n]*?)\r(?=\n|$(?![^]))/, '$1'));
    }),
    { numRuns: 2000 },
  );
});

test('without a LF it is the CR at the end: the LF that Exim is given would follow it', () => {
  assert.equal(text(['a\r', 'b\r']), 'a\rb');
  assert.equal(text(['a', '\r', '\n', '\r\n']), 'a\n\r\n');
  assert.equal(text(['\r', '', '\nx\r\n']), '\nx\r\n');
});
