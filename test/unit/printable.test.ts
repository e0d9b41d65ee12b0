import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { decodeAddress } from '../../src/mail/address.ts';
import { printable } from '../../src/mail/printable.ts';
import { holds } from '../support/holds.ts';

const shown: [what: string, text: string, printed: string][] = [
  ['plain text, of all scripts', 'Grüße, 世界 😀 "\\"', 'Grüße, 世界 😀 "\\"'],
  ['line ends and NUL', 'a\r\nb\0', String.raw`a\x0d\x0ab\x00`],
  ['the escape of a terminal', '\x1b[2J\x9b', String.raw`\x1b[2J\x9b`],
  ['DEL and NEL', '\x7f\x85', String.raw`\x7f\x85`],
  ['line and paragraph separators', '\u2028\u2029', String.raw`\u{2028}\u{2029}`],
  ['an override of the direction', '\u202eexe\u2066', String.raw`\u{202e}exe\u{2066}`],
  ['direction marks', '\u200e\u200f\u061c', String.raw`\u{200e}\u{200f}\u{61c}`],
  ['an octet that is not UTF-8', decodeAddress(Buffer.from([0x61, 0xfc])), String.raw`a\xfc`],
  ['a lone surrogate of any other origin', '\ud83d', String.raw`\u{d83d}`],
];
for (const [what, text, printed] of shown) {
  test(`shown: ${what}`, () => assert.equal(printable(text), printed));
}

test('whatever comes in, one line of harmless, well-formed text comes out', (t) => {
  const hostile = fc.constantFrom('\n', '\x1b', '\u2029', '\u202d', '\u061c', '\udc80', '\ud800');
  holds(
    t,
    fc.property(fc.array(fc.oneof(hostile, fc.string({ unit: 'binary' }))), (pieces) => {
      const printed = printable(pieces.join(''));
      assert.doesNotMatch(printed, /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
      assert.equal(printable(printed), printed, 'printing twice changes nothing');
    }),
    2000,
  );
});
