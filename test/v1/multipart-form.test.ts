import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { limits } from '../../src/limits.ts';
import { FormError } from '../../src/wire/v1/form.ts';
import { decodeMultipart } from '../../src/wire/v1/multipart-form.ts';
import { holds } from '../support/holds.ts';

const TYPE = 'multipart/form-data; boundary=xyz';

function encode(fields: [string, Buffer][], headers = ''): Buffer {
  const parts = fields.flatMap(([name, value]) => [
    Buffer.from(`--xyz\r\nContent-Disposition: form-data; name="${name}"\r\n${headers}\r\n`),
    value,
    Buffer.from('\r\n'),
  ]);
  return Buffer.concat([...parts, Buffer.from('--xyz--\r\n')]);
}

test('every octet of a value comes out of a form as it went in, whatever charset it claims (law 3)', async () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet));
  const large = Buffer.alloc(3 * 1024 * 1024, all);
  for (const headers of ['', 'Content-Type: text/plain; charset=utf-8\r\n']) {
    const fields: [string, Buffer][] = [
      ['msg', large],
      ['signature', all],
      ['fix_sender', Buffer.alloc(0)],
      ['msg', Buffer.from('the second does not count')],
    ];
    const decoded = await decodeMultipart(TYPE, encode(fields, headers));
    assert.deepEqual([...decoded.keys()], ['msg', 'signature', 'fix_sender']);
    assert.ok(decoded.get('msg')?.equals(large));
    assert.ok(decoded.get('signature')?.equals(all));
    assert.equal(decoded.get('fix_sender')?.length, 0);
  }
});

test('what is no form is a FormError, and so is one of too many fields', async () => {
  const whole = encode([['msg', Buffer.from('x')]]);
  const many = Array.from({ length: limits.formFields + 1 }, (): [string, Buffer] => [
    'a',
    Buffer.from('b'),
  ]);
  for (const [type, body] of [
    ['multipart/form-data', whole],
    [TYPE, whole.subarray(0, -6)],
    [TYPE, Buffer.from('msg=x')],
    [TYPE, Buffer.alloc(0)],
    [TYPE, encode(many)],
    [TYPE, Buffer.from('x--xyz--')],
    [TYPE, Buffer.from('--xyz\r\nContent-Disposition: form-data; name="msg"\r\n--xyz--')],
    [TYPE, encode([['msg', Buffer.from('x')]], `X: ${'y'.repeat(limits.partHeadersBytes)}\r\n`)],
  ] as const) {
    await assert.rejects(decodeMultipart(type, body), FormError, body.toString().slice(0, 80));
  }
});

test('a form is read as RFC 2046 and RFC 7578 let it be written', async () => {
  const name = 'Content-Disposition: form-data; name';
  const forms: [type: string, body: string, fields: Record<string, string>][] = [
    [TYPE, '--xyz--', {}],
    [TYPE, `for nobody --xyz\r\n--xyz \t\r\n${name}=msg\r\n\r\n--xy\r\n--xyz--x`, { msg: '--xy' }],
    [
      'Multipart/Form-Data;charset=x; BOUNDARY="x y"',
      `--x y\r\n${name}="a"\r\n\r\n1\r\n--x y--`,
      { a: '1' },
    ],
    [TYPE, '--xyz\r\n\r\nno name\r\n--xyz\r\n\r\n--xyz--', {}],
    [TYPE, `--xyz\r\n${name}="a"\r\n\r\n--xyz--`, { a: '' }],
    [
      TYPE,
      '--xyz\r\nX: y\r\ncontent-disposition:form-data; filename="f;g";name="a"\r\n\r\n1\r\n--xyz--',
      { a: '1' },
    ],
  ];
  for (const [type, body, fields] of forms) {
    const decoded = [...(await decodeMultipart(type, Buffer.from(body)))];
    assert.deepEqual(
      Object.fromEntries(decoded.map(([key, value]) => [key, value.toString()])),
      fields,
      body,
    );
  }
});

test('what it takes to read a form is bounded, whatever fills it', async () => {
  const part = `--xyz\r\nContent-Disposition: form-data; name="msg"\r\n`;
  const fillings = [
    '--xyz\r\n\r\n\r\n',
    `${part}\r\nx\r\n`,
    '--xyz\r\nA: b\r\n\r\n\r\n',
    'A: b\r\n',
    '\r\n--xy',
  ];
  for (const filling of fillings) {
    for (const before of ['', part, `${part}\r\n`]) {
      const body = Buffer.concat([Buffer.from(before), Buffer.alloc(50_000_000, filling)]);
      const began = performance.now();
      await assert.rejects(decodeMultipart(TYPE, body), FormError);
      // A hundred times what it takes: it tells work that grows with the parts, not a slow machine.
      assert.ok(performance.now() - began < 30_000, JSON.stringify([before, filling]));
    }
  }
});

test('garbage is a form or a FormError, nothing else', async (t) => {
  const piece = fc.constantFrom('--xyz', '--xyz--', '\r\n', ':', ';', '"', 'name=', 'form-data');
  const body = fc.array(fc.oneof(piece, fc.string({ maxLength: 9 })), { maxLength: 40 });
  await holds(
    t,
    fc.asyncProperty(body, async (pieces) => {
      try {
        await decodeMultipart(TYPE, Buffer.from(pieces.join('')));
      } catch (error) {
        assert.ok(error instanceof FormError);
      }
    }),
    3000,
  );
});
