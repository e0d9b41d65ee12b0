import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { addressFault } from '../../src/mail/address-fault.ts';
import { fieldsNamed, headerSize, parseHeaders } from '../../src/mail/headers.ts';
import { limits } from '../../src/limits.ts';
import { headerAddresses } from '../../src/wire/header-addresses.ts';
import { InvalidMailError, readMail } from '../../src/wire/v1/read-mail.ts';
import { holds } from '../support/holds.ts';
import { LocalProxy } from '../support/local-proxy.ts';
import { formPost } from '../support/form-post.ts';
import { signedPost } from '../support/signed-post.ts';

/** Pieces that a parser of addresses or headers minds, and arbitrary octets. */
const pieces = fc.array(
  fc.oneof(
    fc.constantFrom(...Array.from('<>()"\',;:@\\[]. \t\r\n\0\xe9\u2028\udc80')),
    fc.constantFrom('a@b', 'c@d.example', '<e@f>', 'group: ', '=?utf-8?q?a=40b?='),
    fc.constantFrom('From: ', 'To: ', 'Cc:', 'bcc: ', 'From ', '\n\n', '\r\n', '\r\n\r\n', '\n '),
    fc.string({ unit: 'binary', maxLength: 6 }),
  ),
  { maxLength: 30 },
);
const text = pieces.map((each) => each.join(''));

test('any text has addresses or none; valid ones have no line end or control character', (t) => {
  holds(
    t,
    fc.property(fc.array(text, { maxLength: 3 }), (values) => {
      const addresses = headerAddresses(values);
      assert.equal(new Set(addresses).size, addresses.length);
      for (const address of addresses) {
        assert.notEqual(address, '');
        if (addressFault(address) === undefined) assert.doesNotMatch(address, /\p{Cc}/u);
      }
    }),
    5000,
  );
});

test('any octets are a mail or an InvalidMailError of one line; a mail keeps its octets but for the named fields', (t) => {
  const octets = text.map((each) => Buffer.from(each, each.includes('\xe9') ? 'latin1' : 'utf8'));
  holds(
    t,
    fc.property(octets, (posted) => {
      try {
        const { envelope, bytes } = readMail(posted, 3, false);
        assert.ok(envelope.sender !== '');
        assert.ok(envelope.recipients.length > 0 && envelope.recipients.length <= 3);
        const blind = parseHeaders(bytes).fields.filter(({ name }) => name.endsWith('bcc'));
        assert.deepEqual(blind, []);
        // An empty line may be added behind the header.
        assert.ok(bytes.length <= posted.length + '\r\n\r\n'.length);
        assert.notEqual(parseHeaders(bytes).bodyAt, undefined);
        const last = bytes.subarray(-1);
        assert.ok(last.toString() === '\n' || posted.subarray(-10).includes(last));
      } catch (error) {
        assert.ok(error instanceof InvalidMailError, String(error));
        assert.match(error.message, /^[^\n]+$/);
      }
    }),
    5000,
  );
});

test('the header section is as large as its parts, whatever the line ends, and fields are found by name', (t) => {
  holds(
    t,
    fc.property(text, (each) => {
      const message = Buffer.from(each);
      const { fields, bodyAt } = parseHeaders(message);
      assert.equal(headerSize(message), fields.at(-1)?.end ?? 0);
      assert.equal(bodyAt === undefined, headerSize(message) === message.length);
      for (const name of ['from', 'bcc', 'to']) {
        const named = fields.filter((field) => field.name === name);
        assert.deepEqual([...fieldsNamed(message, name)], named);
      }
    }),
    3000,
  );
});

test('addresses with CR or LF, in headers or envelope, are refused and reach nobody', async (t) => {
  const local = await LocalProxy.start(t);
  const { key, controlled } = local;
  for (const evil of [
    'a@b\r\nBcc: x@y',
    'a@b\nDATA',
    '"a\r\n b"@c',
    'a\rb@c',
    'a@b\0',
    'a@b\r\n',
  ]) {
    const answer = await signedPost(local.address, { key, recipients: [evil] });
    assert.match(answer.body.toString(), /"status":"5\.1\.3"/, JSON.stringify(evil));
  }
  assert.equal(controlled.calls.length, 0);
  for (const evil of ['a@b\rc@d', '"a\rb"@c', '<a@b\r\n\tBcc: x@y>', 'a@b\r\n\r c@d']) {
    const msg = `From: me@example.com\nTo: ${evil}\n\nx\n`;
    const { status, body } = await formPost(local.address, { key, msg });
    assert.ok(status === 400 || status === 204, `${status} ${body.toString()}`);
    assert.doesNotMatch(body.toString(), /[\r\n]/);
  }
  for (const { sender, recipients } of controlled.calls) {
    assert.doesNotMatch([sender, ...recipients].join(''), /\p{Cc}/u);
  }
});

test(
  'bombs in the headers of a mail are refused in a short time',
  { timeout: 60_000 },
  async (t) => {
    const local = await LocalProxy.start(t);
    const { key, controlled } = local;
    const start = 'From: me@example.com\nTo: you@example.org\n';
    const large = 8 * 1024 * 1024;
    const bombs = [
      `${start}${'a\n'.repeat(large / 2)}\nx\n`,
      `${start}X: ${'\n '.repeat(large / 2)}\n\nx\n`,
      `${start}Cc: ${'('.repeat(large)}\n\nx\n`,
      `${start}Cc: ${'a@b,'.repeat(500_000)}\n\nx\n`,
      `${start}Cc: ${'g:'.repeat(1_000_000)}\n\nx\n`,
      `${start}Cc: ${Array.from({ length: 200_000 }, (_, n) => `${n}@b`).join()}\n\nx\n`,
      'From '.repeat(large / 5),
    ];
    for (const msg of bombs) {
      const { status, body } = await formPost(local.address, { key, msg });
      const said = `${status} ${body.toString()}`;
      // The same recipient 500,000 times is one, and comments and groups are nobody.
      assert.match(
        said,
        /^(?:204 |400 (?:the header section is|there are more than|No sender))/,
        said,
      );
    }
    assert.ok(controlled.calls.every(({ recipients }) => recipients.length <= 2));
    const fields = `${'x=1&'.repeat(10_000)}msg=x`;
    const many = await formPost(local.address, { key, body: fields });
    assert.deepEqual(
      [many.status, many.body.toString()],
      [400, 'there are more than 100 form fields'],
    );
    assert.ok(limits.headerBytes < large);
  },
);
