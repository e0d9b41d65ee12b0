import assert from 'node:assert/strict';
import test from 'node:test';
import { mailFields } from '../../src/proxy/backends/appengine/mail-fields.ts';
import { UnsendableError } from '../../src/proxy/backends/appengine/unsendable-error.ts';
import type { MailMessage } from '../../src/proxy/backends/appengine/mail-message.ts';
import { assertFields, fieldsOf, multipart, octets } from '../support/mail-fields.ts';

const corpus: [title: string, header: string[], fields: Partial<MailMessage>][] = [
  [
    'Subject by RFC 2047',
    ['Subject: =?utf-8?Q?caf=C3=A9?= =?iso-8859-1?B?6Q==?='],
    { subject: 'caféé' },
  ],
  ['Subject in 8-bit UTF-8', ['Subject: caf\xc3\xa9'], { subject: 'café' }],
  ['Subject in 8-bit latin-1', ['Subject: caf\xe9'], { subject: 'café' }],
  ['Subject folded, twice', ['Subject: one', ' two', 'Subject: three'], { subject: 'one two' }],
  [
    'Subject with encoded line ends',
    ['Subject: =?utf-8?Q?a=0D=0ABcc:_x?='],
    { subject: 'a Bcc: x' },
  ],
  ['From with a name', ['From: Ops <ops@example.com>'], { sender: 'Ops <ops@example.com>' }],
  [
    'From by RFC 2047, with a comma, and a second author',
    ['From: =?utf-8?B?QiwgIkMi?= <b@example.com>, d@example.com'],
    { sender: String.raw`"B, \"C\"" <b@example.com>` },
  ],
  ['From without an address', ['From: root'], { sender: 's@example.com' }],
  [
    'From in 8-bit latin-1',
    ['From: Andr\xe9 <a@example.com>'],
    { sender: 'André <a@example.com>' },
  ],
  [
    'Reply-To of two',
    ['Reply-To: a@example.com, "B, C" <b@example.com>'],
    { replyTo: 'a@example.com, "B, C" <b@example.com>' },
  ],
  [
    'headers that pass, in the case that Google wants',
    [
      'in-reply-to: <1@x>',
      'REFERENCES: <1@x>',
      '\t<2@x>',
      'List-ID: A list <list.example.com>',
      'list-unsubscribe: <mailto:x@example.com>',
      'auto-submitted: auto-generated',
      'On-Behalf-of: a@example.com',
      'resent-date: Thu, 1 Jan 1970 00:00:00 +0000',
      'resent-from: a@example.com',
      'resent-to: b@example.com',
    ],
    {
      headers: [
        ['In-Reply-To', '<1@x>'],
        ['References', '<1@x> <2@x>'],
        ['List-Id', 'A list <list.example.com>'],
        ['List-Unsubscribe', '<mailto:x@example.com>'],
        ['Auto-Submitted', 'auto-generated'],
        ['On-Behalf-Of', 'a@example.com'],
        ['Resent-Date', 'Thu, 1 Jan 1970 00:00:00 +0000'],
        ['Resent-From', 'a@example.com'],
        ['Resent-To', 'b@example.com'],
      ],
    },
  ],
  ['a header without a value', ['References:', 'In-Reply-To: \t '], {}],
  [
    'a bare CR in a header',
    ['References: <1@x>\rBcc: x'],
    { headers: [['References', '<1@x> Bcc: x']] },
  ],
];

for (const [title, header, fields] of corpus) {
  test(`the Mail API's fields of a header: ${title}`, async () =>
    assertFields(octets(...header, '', 'Hello'), { textBody: 'Hello\n', ...fields }));
}

test("recipients are the envelope's alone, each where the header shows it (law 4)", async () => {
  const message = octets(
    'To: Friends: One <one@example.org>, "T, W" <TWO@example.org>;, not@example.org',
    'To: three@example.org',
    'Cc: one@example.org, =?utf-8?Q?F=C3=BCnf?= <five@EXAMPLE.org>',
    'Bcc: six@example.org',
    'Resent-To: seven@example.org',
    '',
    'x',
  );
  const names = ['seven', 'six', 'five', 'two', 'one', 'three', 'eight'];
  const { message: fields } = await fieldsOf(
    message,
    names.map((name) => `${name}@example.org`),
  );
  assert.deepEqual(
    [fields.to, fields.cc, fields.bcc],
    [
      ['"T, W" <two@example.org>', 'One <one@example.org>', 'three@example.org'],
      ['Fünf <five@example.org>'],
      ['seven@example.org', 'six@example.org', 'eight@example.org'],
    ],
  );
});

test('a message without any sender is refused', async () => {
  const delivery = {
    key: '',
    id: 'x',
    sender: '',
    recipients: ['r@example.org'],
    bytes: octets('', 'x'),
  };
  await assert.rejects(mailFields(delivery), (error) => {
    assert.ok(error instanceof UnsendableError);
    assert.deepEqual([error.status, error.message], ['5.1.7', 'No sender specified']);
    return true;
  });
});

test('header fields that the Mail API does not take are named once each; those that it has fields for are not named', async () => {
  const names = [
    'Date',
    'X-A',
    'Message-ID',
    'x-a',
    'Content-Language',
    'MIME-Version',
    'Bcc',
    'To',
  ];
  const lines = names.map((name) => `${name}: x`);
  const { dropped } = await fieldsOf(octets('From me', ...lines, '', 'x'));
  assert.deepEqual(dropped, ["the mbox's first line", 'date', 'x-a', 'message-id']);
});

test('an address in Punycode is shown as it is, where the header names it', async () => {
  const address = 'r@xn--bcher-kva.example';
  const { message } = await fieldsOf(octets(`To: ${address}`, '', 'x'), [address]);
  assert.deepEqual(message.to, [address]);
});

test('1,000 header fields are read as few are', async () => {
  const names = Array.from({ length: 1000 }, (_, number) => `x-${number}`);
  const message = octets(...names.map((name) => `${name}: y`), 'Subject: last', '', 'x');
  await assertFields(message, { subject: 'last', textBody: 'x\n' });
  assert.deepEqual((await fieldsOf(message)).dropped, names);
});

/** What Google's documentation of the Mail API lists. */
const blocked =
  'ade adp bat chm cmd com cpl exe hta ins isp jse lib mde msc msp mst pif scr sct shb sys vb vbe vbs vxd wsc wsf wsh';

test('attachments with any of the extensions that Google blocks are refused', async () => {
  for (const extension of blocked.split(' ')) {
    const part = [`Content-Disposition: attachment; filename="x.${extension}"`, '', 'x'];
    await assert.rejects(
      fieldsOf(octets(...multipart('mixed', 'b', part))),
      UnsendableError,
      extension,
    );
  }
});

for (const name of ['x.exe', 'X.ExE', 'a.txt.vbs', 'x.exe. .', 'x.scr', 'dir/x.com', '.bat']) {
  test(`an attachment named ${name} is refused by its name, as Google does`, async () => {
    const part = [
      'Content-Type: text/plain',
      `Content-Disposition: attachment; filename="${name}"`,
    ];
    const message = octets(...multipart('mixed', 'b', [...part, '', 'x']));
    await assert.rejects(fieldsOf(message), (error) => {
      assert.ok(error instanceof UnsendableError);
      assert.equal(error.status, '5.6.0');
      assert.match(error.message, /^Google won't let us send an attachment named '/);
      return true;
    });
  });
}
