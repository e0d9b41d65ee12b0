import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { limits } from '../../src/limits.ts';
import { decodeForm, encodeForm, FormError } from '../../src/wire/v1/form.ts';
import { signV1, verifyV1 } from '../../src/wire/v1/sign-v1.ts';
import { holds } from '../support/holds.ts';

const bytes = fc.uint8Array({ maxLength: 60 }).map((each) => Buffer.from(each));
const names = fc.string({
  unit: fc.nat(255).map((code) => String.fromCharCode(code)),
  maxLength: 5,
});
/** Names that are numbers come first in an object, so their order is not kept; that matters to nobody. */
const fields = fc.dictionary(names, bytes, { maxKeys: 6, noNullPrototype: true });

test('every octet of names and values comes out of a form as it went in (law 3)', async (t) => {
  await holds(
    t,
    fc.asyncProperty(fields, async (given) => {
      const decoded = await decodeForm(encodeForm(given));
      assert.deepEqual(new Map(Object.entries(given)), decoded);
    }),
    2000,
  );
  const all = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet));
  const encoded = encodeForm({ msg: all, signature: 'a+/=' }).toString();
  assert.match(
    encoded,
    /^msg=%00%01.*%1F\+%21%22.*%2C-\.%2F0123456789%3A.*%7E%7F%80.*%FF&signature=a%2B%2F%3D$/,
  );
});

test('any octets are a form or a FormError of one line', async (t) => {
  const piece = fc.oneof(
    fc.constantFrom('&', '=', '%', '+', '%4', '%zz', '%00', '%c3', 'msg', 'signature', '__proto__'),
    bytes.map((each) => each.toString('latin1')),
  );
  await holds(
    t,
    fc.asyncProperty(fc.array(piece, { maxLength: 20 }), async (pieces) => {
      try {
        const body = Buffer.from(pieces.join(''), 'latin1');
        for (const value of (await decodeForm(body)).values())
          assert.ok(value.length <= body.length);
      } catch (error) {
        assert.ok(error instanceof FormError, String(error));
        assert.match(error.message, /^[^\n]+$/);
      }
    }),
    5000,
  );
});

test('forms as others write them', async () => {
  const cases: [form: string, decoded: [string, string][]][] = [
    ['', []],
    ['msg', [['msg', '']]],
    [
      '&&msg=1&',
      [
        ['', ''],
        ['msg', '1'],
      ],
    ],
    ['msg=a=b', [['msg', 'a=b']]],
    ['msg=1&msg=2', [['msg', '1']]],
    ['m%73g=%7e~%7E+%2b', [['msg', '~~~ +']]],
    ['msg=\xff%FF', [['msg', '\xff\xff']]],
  ];
  for (const [form, decoded] of cases) {
    const found = [...(await decodeForm(Buffer.from(form, 'latin1')))];
    assert.deepEqual(
      found.map(([name, value]) => [name, value.toString('latin1')]),
      decoded,
      form,
    );
  }
});

test('a % without two hex digits behind it is refused', async () => {
  for (const form of ['%', '%4', '%z0', '%0z', '%%41', '%4%31', '%-1', '%0\x80']) {
    await assert.rejects(decodeForm(Buffer.from(`msg=${form}`, 'latin1')), FormError, form);
  }
});

test('a large form takes no memory besides its own: decoded in place, encoded to its size', async () => {
  const message = Buffer.alloc(1_000_000, 'a b%\n');
  const form = encodeForm({ msg: message, signature: 'x' });
  assert.equal(form.length, 1_000_000 + 2 * 400_000 + 'msg=&signature=x'.length);
  assert.ok(form.buffer.byteLength <= form.length + 1);
  const decoded = (await decodeForm(form)).get('msg');
  assert.deepEqual(decoded, message);
  assert.equal(decoded?.buffer, form.buffer);
});

test('more than 100 fields are refused at once', { timeout: 30_000 }, async () => {
  const most = Array.from({ length: limits.formFields }, (_, n) => `${n}=x`).join('&');
  assert.equal((await decodeForm(Buffer.from(most))).size, limits.formFields);
  for (const more of [`${most}&x`, 'a=b&'.repeat(10_000), '&'.repeat(50_000_000)]) {
    await assert.rejects(decodeForm(Buffer.from(more)), /^FormError|there are more than 100/);
  }
});

// Made with Python's hmac and base64.
test('a v1 signature is base64 of HMAC-SHA1 over the octets', async () => {
  const key = Buffer.from('a secret key');
  const message = Buffer.from('From: me@example.com\nTo: you@example.org\n\nCaf\xe9\n', 'latin1');
  const signature = '9T0NZkg5aYYjyTuxmag7dr6rvk8=';
  assert.equal(signV1(key, message), signature);
  const others = [Buffer.from('another'), key];
  assert.equal(await verifyV1(others, Buffer.from(`${signature}\n`), message), key);
  const sha256 = createHmac('sha256', key).update(message).digest('base64');
  for (const wrong of [
    '',
    '=',
    signature.slice(0, -1),
    `${signature}x`,
    sha256,
    signature.toLowerCase(),
  ]) {
    assert.equal(await verifyV1(others, Buffer.from(wrong), message), undefined, wrong);
  }
  assert.equal(await verifyV1(others, Buffer.from(signature), message.subarray(1)), undefined);
  assert.equal(await verifyV1([], Buffer.from(signature), message), undefined);
});
