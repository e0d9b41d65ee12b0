import assert from 'node:assert/strict';
import test from 'node:test';
import type { MailMessage } from '../../src/proxy/backends/appengine/mail-message.ts';
import { LONG } from '../support/figures.ts';
import { assertFields, attached, fieldsOf, multipart, octets } from '../support/mail-fields.ts';
import { random, type Random } from '../support/random.ts';

const text = ['Content-Type: text/plain; charset=utf-8', '', 'Hello'];
const pdf = [
  'Content-Type: application/pdf; name=x.pdf',
  'Content-Transfer-Encoding: base64',
  '',
  Buffer.from('a document').toString('base64'),
];
const UTF8 = 'Content-Type: text/plain; charset=utf-8';
const invoice = ['Dear customer, your invoice 4711 is due.', '', 'Regards'];

const corpus: [title: string, lines: string[], fields: Partial<MailMessage>][] = [
  [
    'no empty line after the header of a part',
    multipart('mixed', 'b', [UTF8, ...invoice]),
    { textBody: invoice.join('\n') },
  ],
  [
    'no empty line after the delimiter',
    multipart('mixed', 'b', invoice),
    { textBody: invoice.join('\n') },
  ],
  [
    'blanks in the line that separates the header of a part from its body, which begins like a field',
    multipart('mixed', 'b', [UTF8, ' \t', 'Note: indented', '  twice', '', 'x'], ['  ', '  y']),
    {
      textBody: 'Note: indented\n  twice\n\nx',
      attachments: [attached('attachment-1.txt', '  y')],
    },
  ],
  [
    'blanks that belong to the header, as what follows them shows',
    multipart('mixed', 'b', text, [...pdf.slice(0, 1), '  ', ...pdf.slice(1)], [' ', ...pdf]),
    {
      textBody: 'Hello',
      attachments: [attached('x.pdf', 'a document'), attached('x.pdf', 'a document')],
    },
  ],
  [
    'a part that begins with blanks in place of a header',
    multipart('mixed', 'b', ['  indented', '', 'x']),
    { textBody: '  indented\n\nx' },
  ],
  [
    'a delimiter directly after the header of a nested multipart',
    multipart('mixed', 'b', text, [
      'Content-Type: multipart/mixed; boundary=c',
      '--c',
      ...pdf,
      '--c--',
    ]),
    { textBody: 'Hello', attachments: [attached('x.pdf', 'a document')] },
  ],
  [
    'a delimiter directly after the header of the message, with a colon in it',
    ['Content-Type: multipart/mixed; boundary="c:1"', '--c:1', ...text, '--c:1', ...pdf, '--c:1--'],
    { textBody: 'Hello', attachments: [attached('x.pdf', 'a document')] },
  ],
  [
    'a delimiter within the header of a part, and a part without anything',
    multipart('mixed', 'b', [UTF8], [], text),
    { textBody: '', attachments: [attached('attachment-1.txt', 'Hello')] },
  ],
  [
    'a last delimiter directly after another one',
    multipart('mixed', 'b', ['--b--', ...text], pdf),
    { textBody: 'Hello', attachments: [attached('x.pdf', 'a document')] },
  ],
  [
    'a nested multipart that does not end',
    multipart('mixed', 'b', multipart('mixed', 'c', text, pdf).slice(0, -1), text),
    {
      textBody: 'Hello',
      attachments: [attached('x.pdf', 'a document'), attached('attachment-2.txt', 'Hello')],
    },
  ],
  [
    'a nested multipart with the same boundary',
    [
      ...multipart('mixed', 'b', multipart('mixed', 'b', text)).slice(0, -1),
      '--b',
      ...pdf,
      '--b--',
    ],
    { textBody: 'Hello', attachments: [attached('x.pdf', 'a document')] },
  ],
  [
    'boundaries that begin alike, blanks behind them, and lines of dashes that are no boundaries',
    [...multipart('mixed', 'b', ['', 'Hello', '--', '--bb', '--b-', '-- b', ' --b'], pdf)].map(
      (line) => (line === '--b' ? '--b \t' : line),
    ),
    {
      textBody: 'Hello\n--\n--bb\n--b-\n-- b\n --b',
      attachments: [attached('x.pdf', 'a document')],
    },
  ],
  [
    'base64 that was put together from pieces',
    ['Content-Transfer-Encoding: base64', '', 'SGVsbG8=', 'V29ybGQ='],
    { textBody: 'HelloWorld' },
  ],
  [
    'a text behind base64, in one part and because the delimiter is indented',
    multipart(
      'mixed',
      'b',
      ['Content-Transfer-Encoding: base64', '', 'SGVsbG8=', 'A list of friends', 'more'],
      [...pdf, ' --b', ...text],
    ),
    {
      textBody: 'Hello',
      attachments: [
        attached('attachment-1.txt', 'A list of friends\nmore'),
        attached('x.pdf', 'a document'),
        attached('attachment-3.txt', text.join('\n')),
      ],
    },
  ],
  [
    'a text behind the base64 of a message that is no multipart',
    ['Subject: Hi', 'Content-Transfer-Encoding: base64', '', 'SGVsbG8=', 'A list of friends', 'x'],
    {
      subject: 'Hi',
      textBody: 'Hello',
      attachments: [attached('attachment-1.txt', 'A list of friends\nx\n')],
    },
  ],
  [
    'a boundary of what is no multipart',
    ['Content-Type: text/plain; boundary=b', '', 'Hello', '--b', 'Note: x', '', '--b--'],
    { textBody: 'Hello\n--b\nNote: x\n\n--b--\n' },
  ],
  [
    'delimiters with a CR before them and many blanks behind them',
    multipart('mixed', 'b', [...text, '\r--b'.padEnd(3000), ...invoice], pdf),
    {
      textBody: 'Hello',
      attachments: [
        attached('attachment-1.txt', invoice.join('\n')),
        attached('x.pdf', 'a document'),
      ],
    },
  ],
  [
    'a last delimiter before the first one',
    multipart('mixed', 'b', text).flatMap((line) => (line === '--b' ? ['--b--', line] : [line])),
    { textBody: 'Hello' },
  ],
  [
    'HTML that says its charset in a meta element alone',
    ['Content-Type: text/html', '', '<META charset="koi8-r"><p>\xc1\xc2</p>'],
    { textBody: 'аб', htmlBody: '<META charset="koi8-r"><p>аб</p>\n' },
  ],
  [
    'HTML that says it with http-equiv, and in Content-Type that it is UTF-8',
    [
      'Content-Type: text/html; charset=utf-8',
      '',
      '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">\xe0',
    ],
    {
      textBody: 'а',
      htmlBody: '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">а\n',
    },
  ],
  [
    'HTML in UTF-8 that says it was in another charset once, and in one that says UTF-16',
    multipart(
      'alternative',
      'b',
      ['Content-Type: text/html', '', '<meta charset=koi8-r>caf\xc3\xa9'],
      ['Content-Type: text/plain', '', 'caf\xe9 <meta charset=koi8-r>'],
      ['Content-Type: text/html', '', '<meta charset=utf-16>caf\xe9'],
    ),
    {
      textBody: 'café <meta charset=koi8-r>',
      htmlBody: '<meta charset=koi8-r>café',
      attachments: [attached('attachment-1.html', '<meta charset=utf-16>café')],
    },
  ],
  [
    'ISO-2022-JP without a charset, in Subject too',
    ['Subject: \x1b$B$3\x1b(B', 'Content-Type: text/plain', '', '\x1b$B$3$s$K$A$O\x1b(B'],
    { subject: 'こ', textBody: 'こんにちは\n' },
  ],
  [
    'escapes that change colours and no charset',
    ['', '\x1b[31mred\x1b[0m'],
    { textBody: '\x1b[31mred\x1b[0m\n' },
  ],
  [
    'an 8-bit Subject, names and file names in the charset of the body',
    [
      'Subject: \xc4\xe3\xba\xc3',
      'From: \xc4\xe3 <me@example.com>',
      ...multipart(
        'mixed',
        'b',
        ['Content-Type: text/plain; charset=gb18030', '', '\xba\xc3'],
        ['Content-Type: image/png; name="\xc4\xe3.png"', '', 'x'],
      ),
    ],
    {
      subject: '你好',
      sender: '你 <me@example.com>',
      textBody: '好',
      attachments: [attached('你.png', 'x')],
    },
  ],
  [
    'an 8-bit Subject in UTF-8, whatever the charset of the body',
    ['Subject: caf\xc3\xa9', 'Content-Type: text/plain; charset=koi8-r', '', '\xc1'],
    { subject: 'café', textBody: 'а\n' },
  ],
];

for (const [title, lines, fields] of corpus) {
  test(`the Mail API gets all of a message with a fault: ${title}`, async () =>
    assertFields(octets(...lines), fields));
}

/** A line of a message that the fuzz test makes. */
interface Line {
  text: string;
  role: 'boundary' | 'field' | 'encoding' | 'separator' | 'content' | 'delimiter' | 'last';
}

/** A message, and what must be found in its fields: each as it is, or as it was encoded. */
interface Made {
  lines: Line[];
  marks: string[][];
}

test('whatever faults a message has, each of its words arrives', async (t) => {
  const choose = random(t);
  const [messages, lost] = [LONG ? 20_000 : 400, [] as string[]];
  for (let number = 0; number < messages; number += 1) {
    const made: Made = { lines: [], marks: [] };
    addPart(made, choose, 0);
    for (let faults = choose.below(4); faults > 0; faults -= 1) addFault(made, choose);
    const lineEnds = [() => '\n', () => '\r\n', () => (choose.below(2) === 0 ? '\n' : '\r\n')];
    const lineEnd = lineEnds[choose.below(lineEnds.length)] ?? assert.fail();
    const message = Buffer.from(made.lines.map((line) => line.text + lineEnd()).join(''));

    const { message: sent } = await fieldsOf(message);
    const arrived = [sent.textBody, sent.htmlBody, ...sent.attachments.map(({ data }) => data)];
    const all = arrived.map(String).join('\n');
    const missing = made.marks.filter((ways) => !ways.some((way) => all.includes(way)));
    if (missing.length > 0) lost.push(`${missing.join()} of:\n${message.toString()}`);
  }
  assert.equal(lost.length, 0, `${lost.length} of ${messages} lost words, such as ${lost[0]}`);
});

/** Adds a text, an attachment, an attached message or a multipart of some of these. */
function addPart(made: Made, choose: Random, depth: number): void {
  const { lines, marks } = made;
  const add = (role: Line['role'], ...texts: string[]) => {
    for (const each of texts) lines.push({ role, text: each });
  };
  const word = () => `word${marks.length}.`;
  const kinds = ['text', 'quoted-printable', 'base64', 'message', 'multipart', 'multipart'];
  const kind = kinds[choose.below(depth > 3 ? 4 : kinds.length)];
  if (kind === 'multipart') {
    const boundary = ['b', 'b-', 'b:1', '=_x', 'long'.repeat(10)][choose.below(5)] + String(depth);
    const subtype = ['mixed', 'alternative', 'related'][choose.below(3)];
    add('boundary', `Content-Type: multipart/${subtype};`, ` boundary="${boundary}"`);
    add('separator', '');
    for (let parts = 1 + choose.below(3); parts > 0; parts -= 1) {
      add('delimiter', `--${boundary}`);
      addPart(made, choose, depth + 1);
    }
    return add('last', `--${boundary}--`);
  }
  const type = { base64: 'application/pdf', message: 'message/rfc822' };
  add('field', `Content-Type: ${type[kind as keyof typeof type] ?? 'text/plain'}`);
  if (kind === 'base64' || kind === 'quoted-printable') {
    add('encoding', `Content-Transfer-Encoding: ${kind}`);
  }
  add('separator', '');
  if (kind === 'message') add('content', 'Subject: x', '');
  for (let count = 1 + choose.below(3); count > 0; count -= 1) {
    const mark = word();
    const encoded = Buffer.from(`${mark} `.padEnd(30)).toString('base64');
    marks.push([mark, encoded]);
    add(
      'content',
      kind === 'base64' ? encoded : `${mark} with some more`,
      ...(kind === 'base64' ? [] : ['']),
    );
  }
}

/** Adds a fault that hides nothing from a reader who passes over it. */
function addFault({ lines, marks }: Made, choose: Random): void {
  const pick = (...roles: Line['role'][]) => {
    const places = lines.flatMap(({ role }, at) => (roles.includes(role) ? [at] : []));
    return places[choose.below(places.length)];
  };
  const faults: (() => void)[] = [
    () => replace(pick('separator')),
    () =>
      replace(pick('separator'), {
        role: 'separator',
        text: [' ', '\t', '   \t'][choose.below(3)] ?? '',
      }),
    () => {
      const at = pick('delimiter', 'last');
      const line = at === undefined ? undefined : lines[at];
      if (line) line.text += ' \t'.repeat(1 + choose.below(3));
    },
    () => replace(pick('last')),
    () => {
      // Not behind an encoding, which would be undone for it too, nor before the parts of a multipart.
      const at = pick('delimiter', 'field');
      if (at === undefined || lines[at + 1]?.role === 'boundary') return;
      const mark = `stray${marks.length}.`;
      marks.push([mark]);
      lines.splice(at + 1, 0, { role: 'content', text: `A ${mark} line` });
    },
    () => {
      const at = pick('delimiter');
      const line = at === undefined ? undefined : lines[at];
      if (at !== undefined && line) lines.splice(at, 0, { ...line });
    },
    () =>
      replace(pick('encoding'), { role: 'field', text: 'Content-Transfer-Encoding: x-unknown' }),
  ];
  faults[choose.below(faults.length)]?.();

  function replace(at: number | undefined, ...by: Line[]): void {
    if (at !== undefined) lines.splice(at, 1, ...by);
  }
}
