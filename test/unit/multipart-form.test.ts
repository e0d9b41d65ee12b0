import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { limits } from '../../src/mail/limits.ts';
import { FormError } from '../../src/wire/form.ts';
import { decodeMultipart } from '../../src/wire/multipart-form.ts';

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
  ] as const) {
    await assert.rejects(decodeMultipart(type, body), FormError);
  }
});

test('garbage is a form or a FormError, nothing else, and soon', async () => {
  const piece = fc.constantFrom('--xyz', '--xyz--', '\r\n', ':', ';', '"', 'name=', 'form-data');
  const body = fc.array(fc.oneof(piece, fc.string({ maxLength: 9 })), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(body, async (pieces) => {
      await decodeMultipart(TYPE, Buffer.from(pieces.join(''))).catch((error: unknown) => {
        assert.ok(error instanceof FormError);
      });
    }),
    { seed: 42, numRuns: 300, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true },
  );
});
