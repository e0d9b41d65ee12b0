import test from 'node:test';
import type { MailMessage } from '../../src/proxy/backends/appengine/mail-message.ts';
import { assertFields, attached, multipart, octets } from '../support/mail-fields.ts';

const text = ['Content-Type: text/plain; charset=utf-8', '', 'Hello'];
const html = ['Content-Type: text/html', '', '<p>Hello</p>'];
const base64 = (data: Buffer | string) => Buffer.from(data as string).toString('base64');

function image(...more: string[]): string[] {
  const fields = ['Content-Type: image/png', 'Content-Transfer-Encoding: base64', ...more];
  return [...fields, '', base64('an image')];
}

const corpus: [title: string, message: Buffer, fields: Partial<MailMessage>][] = [
  ['plain', octets('Subject: Hi', '', 'Hello'), { subject: 'Hi', textBody: 'Hello\n' }],
  ['CRLF', Buffer.from('Subject: Hi\r\n\r\na\r\nb\r\n'), { subject: 'Hi', textBody: 'a\nb\n' }],
  [
    'quoted-printable',
    octets('Content-Transfer-Encoding: quoted-printable', '', 'a=', 'b =3D =C3=A9'),
    { textBody: 'ab = é\n' },
  ],
  [
    'alternative',
    octets(...multipart('alternative', 'b', text, html)),
    { textBody: 'Hello', htmlBody: '<p>Hello</p>' },
  ],
  [
    'mixed',
    octets(
      ...multipart('mixed', 'b', text, [
        ...image('Content-Disposition: attachment; filename="a b.png"'),
      ]),
    ),
    { textBody: 'Hello', attachments: [attached('a b.png', 'an image')] },
  ],
  [
    'related, with inline images of which one has no name',
    octets(
      ...multipart(
        'alternative',
        'b',
        text,
        multipart(
          'related',
          'c',
          ['Content-Type: text/html', '', '<img src="cid:one@x"><img src="cid:two@x">'],
          image('Content-ID: <one@x>', 'Content-Disposition: inline; filename=one.png'),
          image('Content-ID: two@x'),
        ),
      ),
    ),
    {
      textBody: 'Hello',
      htmlBody: '<img src="cid:one@x"><img src="cid:two@x">',
      attachments: [
        attached('one.png', 'an image', '<one@x>'),
        attached('attachment-2.png', 'an image', '<two@x>'),
      ],
    },
  ],
  [
    'alternatives in the wrong order',
    octets(...multipart('alternative', 'b', html, text)),
    { textBody: 'Hello', htmlBody: '<p>Hello</p>' },
  ],
  [
    'an alternative with more than one HTML, and a footer',
    octets(
      ...multipart(
        'mixed',
        'b',
        multipart('alternative', 'c', text, multipart('mixed', 'd', html, image(), html)),
        ['', 'Footer'],
      ),
    ),
    {
      textBody: 'Hello',
      htmlBody: '<p>Hello</p>',
      attachments: [
        attached('attachment-1.png', 'an image'),
        attached('attachment-2.html', '<p>Hello</p>'),
        attached('attachment-3.txt', 'Footer'),
      ],
    },
  ],
  [
    'HTML with a footer in plain text, which is no version of it',
    octets(...multipart('mixed', 'b', html, text)),
    {
      textBody: 'Hello',
      htmlBody: '<p>Hello</p>',
      attachments: [attached('attachment-1.txt', 'Hello')],
    },
  ],
  [
    'a text with a footer in HTML, which would hide it',
    octets(...multipart('mixed', 'b', text, image(), html)),
    {
      textBody: 'Hello',
      attachments: [
        attached('attachment-1.png', 'an image'),
        attached('attachment-2.html', '<p>Hello</p>'),
      ],
    },
  ],
  [
    'content ids that Google would refuse',
    octets(
      ...multipart(
        'mixed',
        'b',
        text,
        ...['<>', '<a b>', '(c) <a@b>', '<caf\xe9>'].map((id) => image(`Content-ID: ${id}`)),
      ),
    ),
    {
      textBody: 'Hello',
      attachments: [1, 2, 3, 4].map((n) => attached(`attachment-${n}.png`, 'an image')),
    },
  ],
  [
    'a latin-1 text that is attached without a name: its charset could not be said',
    octets(
      ...multipart('mixed', 'b', text, ['Content-Type: text/plain; charset=latin1', '', 'caf\xe9']),
    ),
    { textBody: 'Hello', attachments: [attached('attachment-1.txt', 'café')] },
  ],
  [
    'a header that a line ends which is no field',
    octets('Subject: Hi', 'Hello there', '', 'more'),
    { subject: 'Hi', textBody: 'Hello there\n\nmore\n' },
  ],
  [
    'a header without an end',
    octets('Subject: Hi', 'Hello there'),
    { subject: 'Hi', textBody: 'Hello there\n' },
  ],
  [
    "the mbox's first line",
    octets('From me Mon Nov 23 08:00:00 2026', 'Subject: Hi', '', 'Hello'),
    { subject: 'Hi', textBody: 'Hello\n' },
  ],
  ...['text/plain charset=utf-8', 'text/plain, charset=utf-8', 'text / plain', 'text', ';'].map(
    (type): (typeof corpus)[number] => [
      `a text of the ill-formed type ${type}`,
      octets(`Content-Type: ${type}`, '', 'Hello'),
      { textBody: 'Hello\n' },
    ],
  ),
  [
    'signed by OpenPGP',
    octets(
      ...multipart('signed; protocol="application/pgp-signature"', 'b', text, [
        'Content-Type: application/pgp-signature; name=signature.asc',
        '',
        '-----BEGIN PGP SIGNATURE-----',
      ]),
    ),
    {
      textBody: 'Hello',
      attachments: [attached('signature.asc', '-----BEGIN PGP SIGNATURE-----')],
    },
  ],
  [
    'encrypted by S/MIME',
    octets(
      'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"',
      'Content-Transfer-Encoding: base64',
      '',
      base64('a secret'),
    ),
    { attachments: [attached('smime.p7m', 'a secret')] },
  ],
  [
    'latin-1',
    octets('Content-Type: text/plain; charset=ISO-8859-1', '', 'caf\xe9'),
    { textBody: 'café\n' },
  ],
  [
    'ISO-2022-JP',
    octets('Content-Type: text/plain; charset=iso-2022-jp', '', '\x1b$B$3$s$K$A$O\x1b(B'),
    { textBody: 'こんにちは\n' },
  ],
  [
    'UTF-16 in the names of attachments, by RFC 2231 and RFC 2047',
    octets(
      ...multipart(
        'mixed',
        'b',
        image("Content-Disposition: attachment; filename*=utf-16be''e%E5g%2C%00.%00p%00n%00g"),
        image('Content-Disposition: attachment; filename="=?utf-16?B?//7lZSxnnoouAHQAeAB0AA==?="'),
      ),
    ),
    {
      attachments: [attached('日本.png', 'an image'), attached('日本語.txt', 'an image')],
    },
  ],
  [
    'a name in pieces, and one in 8-bit UTF-8',
    octets(
      ...multipart(
        'mixed',
        'b',
        image(
          'Content-Disposition: attachment;',
          " filename*0*=utf-8''caf%C3%A9%20;",
          ' filename*1="menu.png"',
        ),
        image('Content-Disposition: attachment; filename="caf\xc3\xa9.png"'),
      ),
    ),
    { attachments: [attached('café menu.png', 'an image'), attached('café.png', 'an image')] },
  ],
  ['an empty body', octets('Subject: x', ''), { subject: 'x', textBody: '' }],
  ['no body', Buffer.from('Subject: x\n'), { subject: 'x', textBody: '' }],
  ['an empty message', Buffer.alloc(0), {}],
  [
    'only an attachment',
    octets(...image('Content-Disposition: attachment')),
    { attachments: [attached('attachment-1.png', 'an image')] },
  ],
  [
    'HTML only',
    octets(
      'Content-Type: text/html; charset=iso-8859-1',
      '',
      '<h1>Caf\xe9</h1><p>one<br>two <a href="http://x.example/">link</a></p>',
    ),
    {
      textBody: 'CAFÉ\n\none\ntwo link [http://x.example/]',
      htmlBody: '<h1>Café</h1><p>one<br>two <a href="http://x.example/">link</a></p>\n',
    },
  ],
  [
    'text after an attachment, in another charset',
    octets(
      ...multipart('mixed', 'b', text, image(), [
        'Content-Type: text/plain; charset=iso-8859-1',
        '',
        'Caf\xe9',
      ]),
    ),
    {
      textBody: 'Hello',
      attachments: [attached('attachment-1.png', 'an image'), attached('attachment-2.txt', 'Café')],
    },
  ],
  [
    'a text that is attached before the body, to the octet',
    octets(
      ...multipart(
        'mixed',
        'b',
        [
          'Content-Type: text/plain; charset=iso-8859-1; name=caf.txt',
          'Content-Disposition: attachment',
          '',
          'Caf\xe9',
        ],
        text,
      ),
    ),
    {
      textBody: 'Hello',
      attachments: [attached('caf.txt', Buffer.from('Caf\xe9', 'latin1'))],
    },
  ],
  [
    'inline text files with names keep their octets',
    octets(
      ...multipart('mixed', 'b', text, [
        'Content-Type: text/x-diff; charset=iso-8859-1; name=caf.patch',
        'Content-Disposition: inline; filename=caf.patch',
        '',
        '-caf\xe9\rx',
      ]),
    ),
    {
      textBody: 'Hello',
      attachments: [attached('caf.patch', Buffer.from('-caf\xe9\rx', 'latin1'))],
    },
  ],
  [
    'octets with the name of a text before the body are no body',
    octets(
      ...multipart(
        'mixed',
        'b',
        ['Content-Type: application/octet-stream; name=log.txt', '', 'a log'],
        text,
      ),
    ),
    { textBody: 'Hello', attachments: [attached('log.txt', 'a log')] },
  ],
  [
    'parts whose Content-Type is empty: a text, or a file where it has a name',
    octets(
      ...multipart(
        'mixed',
        'b',
        ['Content-Type: ;', 'Content-Disposition: inline; filename=x.dat', '', 'data'],
        ['Content-Type:', '', 'Hello'],
      ),
    ),
    { textBody: 'Hello', attachments: [attached('x.dat', 'data')] },
  ],
  [
    'a type in capitals',
    octets(...multipart('ALTERNATIVE', 'b', ['Content-Type: TEXT/PLAIN', '', 'Hello'], html)),
    { textBody: 'Hello', htmlBody: '<p>Hello</p>' },
  ],
  [
    'nested message/rfc822, inline and named',
    octets(
      ...multipart(
        'mixed',
        'b',
        text,
        ['Content-Type: message/rfc822', 'Content-Disposition: inline', '', 'Subject: i', '', 'In'],
        ['Content-Type: message/rfc822; name="Re: hi"', '', 'Subject: j', '', 'Jn'],
        ['Content-Type: message/rfc822; name="x.EML"', '', 'Subject: k', '', 'Kn'],
      ),
    ),
    {
      textBody: 'Hello',
      attachments: [
        attached('attachment-1.eml', 'Subject: i\n\nIn'),
        attached('Re: hi.eml', 'Subject: j\n\nJn'),
        attached('x.EML', 'Subject: k\n\nKn'),
      ],
    },
  ],
  [
    'a digest, whose parts are messages unless they say otherwise',
    octets(
      ...multipart(
        'mixed',
        'b',
        text,
        multipart(
          'digest',
          'c',
          ['', 'Subject: i', '', 'caf\xe9'],
          ['Content-Type: text/plain', '', 'no message'],
          ['', 'Subject: j', '', 'Jn'],
        ),
      ),
    ),
    {
      textBody: 'Hello',
      attachments: [
        attached('attachment-1.eml', Buffer.from('Subject: i\n\ncaf\xe9', 'latin1')),
        attached('attachment-2.txt', 'no message'),
        attached('attachment-3.eml', 'Subject: j\n\nJn'),
      ],
    },
  ],
  [
    'a bounce',
    octets(
      ...multipart(
        'report; report-type=delivery-status',
        'b',
        ['', 'It failed.'],
        ['Content-Type: message/delivery-status', '', 'Action: failed'],
        ['Content-Type: text/rfc822-headers', '', 'Subject: x'],
      ),
    ),
    {
      textBody: 'It failed.',
      attachments: [
        attached('attachment-1.txt', 'Action: failed'),
        attached('attachment-2.txt', 'Subject: x'),
      ],
    },
  ],
  [
    'UTF-8 that is said to be ASCII, and latin-1 that is said to be UTF-8',
    octets(
      ...multipart(
        'alternative',
        'b',
        ['Content-Type: text/plain; charset=us-ascii', '', 'caf\xc3\xa9'],
        ['Content-Type: text/html; charset=utf-8', '', 'caf\xe9'],
      ),
    ),
    { textBody: 'café', htmlBody: 'café' },
  ],
  [
    'a byte order mark of UTF-8',
    octets('Content-Type: text/plain; charset=utf-8', '', '\xef\xbb\xbfa'),
    { textBody: 'a\n' },
  ],
  [
    'mostly UTF-8: one bad octet costs one character',
    octets('Content-Type: text/plain; charset=utf-8', '', 'caf\xc3\xa9 \xe9 \xe2\x82\xac'),
    { textBody: 'café \ufffd €\n' },
  ],
  [
    'windows-1252, and latin-1 and no charset that are in truth windows-1252',
    octets(
      ...multipart(
        'alternative',
        'b',
        ['Content-Type: text/plain; charset=windows-1252', '', '\x93a\x94'],
        ['Content-Type: text/html; charset=iso-8859-1', '', '\x80'],
        ['Content-Type: text/plain', '', '\x96'],
      ),
    ),
    { textBody: '“a”', htmlBody: '€', attachments: [attached('attachment-1.txt', '–')] },
  ],
  [
    'UTF-16 with a byte order mark, either way',
    octets(
      ...multipart(
        'alternative',
        'b',
        ['Content-Type: text/plain; charset=utf-16', '', '\xff\xfea\0'],
        ['Content-Type: text/html; charset=utf-16', '', '\xfe\xff\0a'],
      ),
    ),
    { textBody: 'a', htmlBody: 'a' },
  ],
  ...(
    [
      ['CP850', '\x82', 'é'],
      ['Shift_JIS', '\x82\xb1\x82\xf1', 'こん'],
      ['EUC-JP', '\xa4\xb3', 'こ'],
      ['iso-2022-jp-ms', '\x1b$B$3\x1b(B', 'こ'],
      ['GB2312', '\xc4\xe3', '你'],
      ['koi8-r', '\xc1', 'а'],
      ['ANSI_X3.4-1968', '\xc3\xa9', 'é'],
    ] as const
  ).map(([charset, written, read]): (typeof corpus)[number] => [
    charset,
    octets(`Content-Type: text/plain; charset=${charset}`, '', written),
    { textBody: `${read}\n` },
  ]),
  [
    'UTF-8 in other words that is in truth windows-1252',
    octets("Content-Type: text/plain; charset='utf_8'", '', '\x96'),
    { textBody: '–\n' },
  ],
  [
    'a charset that nobody knows',
    octets('Content-Type: text/plain; charset=x-klingon', '', 'caf\xc3\xa9'),
    { textBody: 'café\n' },
  ],
  [
    'broken base64',
    octets('Content-Transfer-Encoding: base64', '', '!!SGVs*bG8=', 'x'),
    { textBody: 'Hello' },
  ],
  [
    'an encoding that nobody knows',
    octets('Content-Transfer-Encoding: x-uuencode', '', 'as it is'),
    { textBody: 'as it is\n' },
  ],
  [
    'a multipart without a boundary keeps its body',
    octets('Content-Type: multipart/mixed', '', 'not lost'),
    { textBody: 'not lost\n' },
  ],
  [
    'a multipart without parts keeps its body',
    octets('Content-Type: multipart/mixed; boundary=b', '', 'not lost'),
    { textBody: 'not lost\n' },
  ],
  [
    'a multipart that is cut off',
    octets('Content-Type: multipart/mixed; boundary=b', '', '--b', '', 'Hello', '--b', ...image()),
    { textBody: 'Hello', attachments: [attached('attachment-1.png', 'an image')] },
  ],
  [
    'names that mean mischief, or have no extension',
    octets(
      ...multipart(
        'mixed',
        'b',
        image('Content-Disposition: attachment; filename="../../etc/passwd"'),
        image(String.raw`Content-Disposition: attachment; filename="C:\\x\\y.png"`),
        image('Content-Disposition: attachment; filename=".htaccess"'),
        image("Content-Disposition: attachment; filename*=utf-8''a%0Ab%E2%80%AEgnp.png%00"),
        image('Content-Disposition: attachment; filename="..."'),
        ['Content-Type: application/octet-stream', '', 'x'],
        ['Content-Type: application/x-msdownload', '', 'x'],
        ['Content-Type: x-unknown/x-unknown', '', 'x'],
      ),
    ),
    {
      attachments: [
        attached('passwd.png', 'an image'),
        attached('y.png', 'an image'),
        attached('attachment.htaccess', 'an image'),
        attached('a_b_gnp.png_', 'an image'),
        attached('attachment-5.png', 'an image'),
        attached('attachment-6.bin', 'x'),
        attached('attachment-7.bin', 'x'),
        attached('attachment-8.bin', 'x'),
      ],
    },
  ],
];

for (const [title, message, fields] of corpus) {
  test(`the Mail API's fields of a message: ${title}`, async () => assertFields(message, fields));
}
