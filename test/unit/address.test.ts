import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { addressFault } from '../../src/mail/address-fault.ts';
import { decodeAddress, encodeAddress } from '../../src/mail/address.ts';
import { canonicalAddress } from '../../src/mail/canonical-address.ts';
import { limits } from '../../src/limits.ts';
import { holds } from '../support/holds.ts';

/** Octets of which many are almost UTF-8: lead and trail octets, surrogates (ED A0 80), a BOM. */
const octets = fc
  .array(
    fc.oneof(
      fc.constantFrom('a', '@', 'ü', '😀', '\ufeff').map((text) => Buffer.from(text)),
      fc.constantFrom([0xc3], [0x80], [0xed, 0xa0, 0x80], [0xf0, 0x9f], [0xc0, 0xaf], [0xff]),
      fc.uint8Array({ maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((pieces) => Buffer.concat(pieces.map((piece) => Buffer.from(piece))));

test('any octets come back from decodeAddress and encodeAddress as they were', (t) => {
  holds(
    t,
    fc.property(octets, (given) => assert.deepEqual(encodeAddress(decodeAddress(given)), given)),
    2000,
  );
});

test('different octets are different addresses, and travel through JSON', (t) => {
  holds(
    t,
    fc.property(octets, octets, (one, two) => {
      const [first, second] = [decodeAddress(one), decodeAddress(two)];
      assert.equal(first === second, one.equals(two));
      assert.equal(JSON.parse(Buffer.from(JSON.stringify(first)).toString()), first);
    }),
    1000,
  );
});

test('what is UTF-8 reads as it is written, and what is not is told apart', () => {
  assert.equal(decodeAddress(Buffer.from('\ufeffü@exämple.org😀')), '\ufeffü@exämple.org😀');
  assert.equal(decodeAddress(Buffer.from('f\xfc@x', 'latin1')), 'f\udcfc@x');
  assert.equal(addressFault('f\udcfc@x'), 'the address is not UTF-8');
});

const good = [
  'a@b',
  'first.last@example.org',
  'dots..anywhere.@example.org',
  "!#$%&'*+/=?^_`{|}~-@example.org",
  '"quoted, with (everything) @ <here>"@example.org',
  String.raw`"a\"b\\"@example.org`,
  '""@example.org',
  'ü@exämple.org',
  '用户@例子.广告',
  'a@under_score.example.org',
  'a@example.org.',
  'a@[192.0.2.1]',
  'a@[IPv6:2001:db8::1]',
  'a@xn--exmple-cua.org',
  'a@r3---sn-abc.example',
  'a@UNDER_score.EXÄMPLE.org',
  'a@straße.example.',
  // What IDNA 2008 allows besides letters, digits and marks, where its rules of context do.
  'info@paral·lel.example',
  'a@͵αβ.example',
  'a@א׳ב.example',
  'דואר@צה״ל.example',
  'a@سنڌي۽.example',
  'a@سنڌي۾.example',
  'a@སྐད་ཡིག.example',
  'پست@می\u200cخواهم.example',
  'a@क्\u200dष.example',
  'a@क्\u200cष.example',
  'test@テスト・テスト.example',
  `${'a'.repeat(64)}@${'b'.repeat(63)}.${'c'.repeat(63)}.example`,
];
for (const address of good) {
  test(`may be sent to: ${address}`, () => assert.equal(addressFault(address), undefined));
}

const bad: [address: string, fault: RegExp][] = [
  ['', /has no @/],
  ['root', /has no @/],
  ['@example.org', /local part/],
  ['a b@example.org', /local part/],
  ['a@b@example.org', /local part/],
  ['<a@example.org', /local part/],
  ['a,b@example.org', /local part/],
  ['a:b@example.org', /local part/],
  ['a(comment)@example.org', /local part/],
  ['"open@example.org', /local part/],
  ['"a"b"@example.org', /local part/],
  [String.raw`"a\"@example.org`, /local part/],
  ['a\u00a0b@example.org', /local part/],
  ['a\u2028b@example.org', /local part/],
  ['a@', /domain/],
  ['a@.', /domain/],
  ['a@-example.org', /domain/],
  ['a@example-.org', /domain/],
  ['a@example..org', /domain/],
  ['a@.example.org', /domain/],
  ['a@exa mple.org', /domain/],
  ['a@example.org>', /domain/],
  ['a@example.org\n', /domain/],
  ['a@[192.0.2.1', /domain/],
  ['user@例え。example', /domain/],
  ['user@例え．example', /domain/],
  ['user@例え｡example', /domain/],
  ['user@example。', /domain/],
  ['a@😀.example', /domain/],
  ['a@👩\u200d💻.example', /domain/],
  ['a@♥.example', /domain/],
  ['a@∞.example', /domain/],
  ['a@a·b.example', /domain/],
  ['a@ab\u200cc.example', /domain/],
  ['a@ab\u200dc.example', /domain/],
  ['a@א״.x・y.example', /domain/],
  ['a@\u0300a.example', /domain/],
  ['a@ä\u202eb.example', /domain/],
  ['a@ä\u0000b.example', /domain/],
  ['a@xn--ä.example', /domain/],
  [`a@${'ä'.repeat(60)}.example`, /domain/],
  ['a@exam\u00adple.ü.example', /domain/],
  ['a@exam\u00adple.org', /domain/],
  ['a@ü\u200b.example', /domain/],
  ['a@[]', /domain/],
  ['a@[a\nb]', /domain/],
  ['a\n@example.org', /local part/],
  ['"a\r\nRCPT TO:<b@c>"@example.org', /local part/],
  ['"a\\\n"@example.org', /local part/],
  ['"a\0"@example.org', /local part/],
  ['"a\u0085"@example.org', /local part/],
  ['\udc80@example.org', /not UTF-8/],
  [`${'ü'.repeat(limits.addressBytes / 2)}@b`, /longer than 320 octets/],
];
for (const [address, fault] of bad) {
  test(`may not be sent to: ${JSON.stringify(address).slice(0, 60)}`, () => {
    assert.match(addressFault(address) ?? 'nothing', fault);
  });
}

test('an address is the same in A-labels and in U-labels, in any case; its local part is to the letter', () => {
  for (const [one, other] of [
    ['a@Bücher.Example', 'a@xn--bcher-kva.example'],
    ['a@BU\u0308CHER.example', 'a@xn--bcher-kva.example'],
    ['a@XN--BCHER-KVA.example', 'a@bücher.example'],
    ['a@paral·lel.example', 'a@xn--parallel-koa.example'],
    ['a@[IPv6:2001:DB8::1]', 'a@[ipv6:2001:db8::1]'],
    ['a@😀.EXAMPLE', 'a@😀.example'],
    ['root', 'ROOT'],
  ] as const) {
    assert.equal(canonicalAddress(one), canonicalAddress(other), one);
  }
  for (const [one, other] of [
    ['A@example.org', 'a@example.org'],
    ['ü@example.org', 'Ü@example.org'],
    ['a@straße.example', 'a@strasse.example'],
    ['a@例え。example', 'a@例え.example'],
  ] as const) {
    assert.notEqual(canonicalAddress(one), canonicalAddress(other), one);
  }
});

test('an address of 320 octets is taken, however few characters these are', () => {
  const local = 'ü'.repeat((limits.addressBytes - 2) / 2);
  assert.equal(addressFault(`${local}@b`), undefined);
  assert.match(addressFault(`${local}@bc`) ?? '', /longer than 320 octets/);
});

test('no text makes addressFault throw, and no control or line break passes it', (t) => {
  const pieces = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('a', '@', '"', '\\', '.', '[', ']', '-', 'ü') },
    { weight: 1, arbitrary: fc.constantFrom('\r', '\n', '\0', '\x7f', '\x85', '\u2028', '\u2029') },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
  );
  const texts = fc
    .tuple(fc.array(pieces, { maxLength: 8 }), fc.array(pieces, { maxLength: 8 }))
    .map(([local, domain]) => `${local.join('')}@${domain.join('')}`);
  // Inside quotes more is allowed, so this is where a line break would slip through.
  const quoted = texts.map((text) => `"${text}"@example.org`);
  holds(
    t,
    fc.property(fc.oneof(texts, quoted), (text) => {
      if (addressFault(text) === undefined) assert.doesNotMatch(text, /\p{Cc}|\p{Cs}/u);
    }),
    5000,
  );
});

test('an address that nearly fits, at its full length, is refused in no time', () => {
  const startedAt = performance.now();
  const domains = ['a'.repeat(310), 'a.'.repeat(155), 'a-'.repeat(155), 'ä'.repeat(150)];
  for (const domain of [...domains, 'ä.'.repeat(100), 'ب\u200c'.repeat(60), '・'.repeat(100)]) {
    assert.ok(addressFault(`"x"@${domain}!`));
    assert.ok(addressFault(`${domain}"@b`));
    assert.ok(addressFault(`"${'\\\\'.repeat(150)}@b`));
  }
  assert.ok(performance.now() - startedAt < 1000);
});
