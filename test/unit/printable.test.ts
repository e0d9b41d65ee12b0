import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { decodeAddress } from '../../src/mail/address.ts';
import { cut } from '../../src/mail/cut.ts';
import { jsonLine } from '../../src/mail/json-line.ts';
import { limits } from '../../src/limits.ts';
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
  ['no width', 'a\u200b\u200c\u200d\u2060b', String.raw`a\u{200b}\u{200c}\u{200d}\u{2060}b`],
  ['the byte order mark', '\ufeff', String.raw`\u{feff}`],
  ['a soft hyphen, a filler, a tag', '\u00ad\u3164\u{e0041}', String.raw`\xad\u{3164}\u{e0041}`],
  ['an octet that is not UTF-8', decodeAddress(Buffer.from([0x61, 0xfc])), String.raw`a\xfc`],
  ['a lone surrogate of any other origin', '\ud83d', String.raw`\u{d83d}`],
];
for (const [what, text, printed] of shown) {
  test(`shown: ${what}`, () => assert.equal(printable(text), printed));
}

const hostile = fc.constantFrom(
  '\n',
  '\x1b',
  '\u2029',
  '\u202d',
  '\u200b',
  '\ufeff',
  '\udc80',
  '\ud800',
);

test('whatever comes in, one line of harmless, well-formed text comes out', (t) => {
  holds(
    t,
    fc.property(fc.array(fc.oneof(hostile, fc.string({ unit: 'binary' }))), (pieces) => {
      const printed = printable(pieces.join(''));
      assert.doesNotMatch(
        printed,
        /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Cf}\p{Default_Ignorable_Code_Point}]/u,
      );
      assert.equal(printable(printed), printed, 'printing twice changes nothing');
    }),
    2000,
  );
});

test('what is too long is cut to its limit, with a sign, and no character is cut in two', (t) => {
  assert.equal(printable('x'.repeat(150_000)).length, limits.lineChars);
  assert.equal(printable('\x1b'.repeat(9), 11), String.raw`\x1b\x1b` + '...');
  assert.equal(cut('12345', 5), '12345');
  assert.equal(cut('123456', 5), '12...');
  assert.equal(cut('1😀2345', 5), '1...');
  const pieces = fc.array(fc.oneof(hostile, fc.constantFrom('😀', '\u{e0041}'), fc.string()));
  holds(
    t,
    fc.property(pieces, fc.integer({ min: 3, max: 40 }), (texts, charsMax) => {
      const text = texts.join('');
      const [all, short] = [printable(text), printable(text, charsMax)];
      assert.ok(short.isWellFormed(), short);
      if (all.length <= charsMax) return assert.equal(short, all);
      assert.ok(short.length <= charsMax && short.endsWith('...'), short);
      assert.ok(all.startsWith(short.slice(0, -3)), short);
      assert.equal(printable(short, charsMax), short, 'cutting twice changes nothing');
    }),
    2000,
  );
});

test('JSON for a terminal is one line of harmless text, and says the same as any other JSON', (t) => {
  assert.equal(
    jsonLine({ a: '\x1b\x7f\x9b\u202e\u200b\u2028\ufeff\u{e0041}\ud800ü😀' }),
    String.raw`{"a":"\u001b\u007f\u009b\u202e\u200b\u2028\ufeff\udb40\udc41\ud800ü😀"}`,
  );
  const text = fc
    .array(fc.oneof(hostile, fc.string({ unit: 'binary' })))
    .map((all) => all.join(''));
  const leaf = fc.oneof(text, fc.double(), fc.boolean(), fc.constant(null));
  const value = fc.oneof(fc.array(leaf), fc.dictionary(text, fc.oneof(leaf, fc.array(leaf))));
  holds(
    t,
    fc.property(value, (each) => {
      const line = jsonLine(each);
      assert.doesNotMatch(
        line,
        /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Cf}\p{Default_Ignorable_Code_Point}]/u,
      );
      assert.deepEqual(JSON.parse(line), JSON.parse(JSON.stringify(each)));
    }),
    2000,
  );
});
