import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { BsmtpReader } from '../../src/intake/bsmtp.ts';
import { LmtpSession } from '../../src/intake/lmtp-session.ts';
import { limits } from '../../src/limits.ts';
import { holds } from '../support/holds.ts';
import { lmtpData, lmtpMail } from '../support/lmtp.ts';
import { bsmtp } from '../support/road.ts';

/** A message that a session has received. */
interface Got {
  id: string | undefined;
  sender: string;
  recipients: string[];
  bytes: Buffer;
  digest: Buffer;
}

/** A session that is given a dialogue in chunks of these sizes; every message is taken, or refused when it is too large. */
function converse(
  dialogue: Buffer | string,
  sizes: readonly number[] = [65_536],
  bytesMax?: number,
) {
  const session = new LmtpSession(bytesMax);
  const input = typeof dialogue === 'string' ? Buffer.from(dialogue, 'latin1') : dialogue;
  const got: Got[] = [];
  let text: string = LmtpSession.greeting;
  let isOver = false;
  for (let at = 0, turn = 0; at < input.length && !isOver; turn += 1) {
    // A copy, spoilt afterwards: the session must not keep it.
    const chunk = Buffer.from(input.subarray(at, at + (sizes[turn % sizes.length] ?? 1)));
    at += chunk.length;
    for (let rest: Buffer = chunk; rest.length > 0 && !isOver;) {
      const progress = session.push(rest);
      rest = progress.rest;
      text += progress.replies;
      isOver = progress.isOver;
      if (!progress.received) continue;
      const { ident, envelope, message } = progress.received;
      const outcome = ending(() => message.end());
      if (typeof outcome !== 'string') {
        const { eximId, pieces, digest } = outcome;
        got.push({ ...envelope, id: ident ?? eximId, bytes: Buffer.concat(pieces), digest });
      }
      const reply = typeof outcome === 'string' ? `452 ${outcome}` : `250 ${got.length} taken for`;
      text += session.answer((recipient) => `${reply} ${recipient}`);
    }
    chunk.fill(0);
  }
  return { text, got, isOver, session };
}

function ending<Result>(end: () => Result): Result | string {
  try {
    return end();
  } catch (error) {
    return (error as Error).message;
  }
}

/** The codes of the replies, without the greeting and the answer to LHLO. */
const codes = (text: string) =>
  [...text.matchAll(/^(\d{3}) /gm)].slice(2).map(([, code]) => Number(code));

const GREET = 'LHLO client.example\r\n';
const TO = 'MAIL FROM:<s@x.example>\r\nRCPT TO:<r@x.example>\r\n';

test('LHLO offers what RFC 2033 asks for, and XFORWARD; SIZE names no limit that a client could bounce by', () => {
  const { text } = converse(GREET);
  assert.deepEqual(text.split('\r\n'), [
    '220 appengine-mailer LMTP',
    '250-appengine-mailer',
    '250-PIPELINING',
    '250-8BITMIME',
    '250-SMTPUTF8',
    '250-ENHANCEDSTATUSCODES',
    '250-SIZE',
    '250 XFORWARD IDENT',
    '',
  ]);
});

test('each recipient has a reply of its own after the closing dot, also one who is named twice', () => {
  const recipients = ['a@x.example', 'b@x.example', 'a@x.example'];
  const { text, got } = converse(Buffer.concat([Buffer.from(GREET), lmtpMail({ recipients })]));
  assert.deepEqual(text.split('\r\n').slice(-4, -1), [
    '250 1 taken for a@x.example',
    '250 1 taken for b@x.example',
    '250 1 taken for a@x.example',
  ]);
  assert.deepEqual(got[0]?.recipients, ['a@x.example', 'b@x.example']);
});

/** Dialogues after the greeting, and the codes of the replies to them. */
const dialogues: [what: string, said: string, codes: number[]][] = [
  [
    'NOOP, RSET, VRFY and HELP',
    'NOOP\r\nRSET\r\nVRFY x\r\nHELP\r\nQUIT\r\n',
    [250, 250, 252, 214, 221],
  ],
  ['lower case', 'mail from:<>\r\nrcpt to:<a>\r\nrset\r\nquit\r\n', [250, 250, 250, 221]],
  ['lines that end in LF', 'MAIL FROM:<>\nRCPT TO:<a>\nQUIT\n', [250, 250, 221]],
  ['parameters of MAIL', 'MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME SMTPUTF8\r\n', [250]],
  ['a blank before the address', 'MAIL FROM: <a@b>\r\nRCPT TO: <a@b>\r\n', [250, 250]],
  ['a parameter that was not offered', 'MAIL FROM:<a@b> RET=HDRS\r\n', [455]],
  ['a parameter of RCPT', `${TO}RCPT TO:<a@b> NOTIFY=NEVER\r\n`, [250, 250, 455]],
  ['a size that is too large', 'MAIL FROM:<a@b> SIZE=104857601\r\n', [452]],
  ['RCPT without MAIL', 'RCPT TO:<a@b>\r\n', [451]],
  ['DATA without MAIL, and without RCPT', 'DATA\r\nMAIL FROM:<>\r\nDATA\r\n', [451, 250, 451]],
  [
    'DATA after all recipients were refused',
    'MAIL FROM:<>\r\nRCPT TO:<a> X=1\r\nDATA\r\n',
    [250, 455, 451],
  ],
  ['LHLO in a transaction, which ends it', `${TO}LHLO y\r\nDATA\r\n`, [250, 250, 250, 451]],
  [
    'RSET between pipelined messages',
    `${TO}RSET\r\n${TO}DATA\r\nx\r\n.\r\nDATA\r\n`,
    [250, 250, 250, 250, 250, 354, 250, 451],
  ],
  [
    'a size that is not true',
    'MAIL FROM:<> SIZE=1\r\nRCPT TO:<a>\r\nDATA\r\nmore than that\r\n.\r\n',
    [250, 250, 354, 250],
  ],
  [
    'a size that is no number',
    'MAIL FROM:<> SIZE=-1\r\nMAIL FROM:<> SIZE=1e3\r\nMAIL FROM:<> SIZE\r\n',
    [455, 455, 455],
  ],
  ['NUL in commands', 'NOOP\0\r\n\0\r\nMAIL FROM:<\0>\r\n', [451, 451, 250]],
  ['two senders', 'MAIL FROM:<>\r\nMAIL FROM:<>\r\n', [250, 451]],
  ['MAIL after RSET', 'MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n', [250, 250, 250]],
  ['no brackets', 'MAIL FROM:a@b\r\nMAIL FROM:<a@b\r\nMAIL\r\n', [451, 451, 451]],
  [
    'EHLO, HELO and commands that are unknown',
    'EHLO x\r\nHELO x\r\nBDAT 5 LAST\r\n\r\nSTARTTLS\r\n',
    [451, 451, 451, 451, 451],
  ],
  [
    'XFORWARD of other attributes',
    'XFORWARD NAME=x ADDR=1.2.3.4\r\nXFORWARD\r\nXFORWARD IDENT\r\n',
    [250, 250, 451],
  ],
  ['XFORWARD in a transaction', 'MAIL FROM:<>\r\nXFORWARD IDENT=a\r\n', [250, 451]],
  [
    'a line that is too long',
    `MAIL FROM:<${'a'.repeat(limits.envelopeLineBytes)}>\r\nNOOP\r\n`,
    [451, 250],
  ],
];
for (const [what, said, expected] of dialogues) {
  test(`a dialogue with ${what} has the replies ${expected.join(', ')}`, () => {
    for (const size of [1, 65_536])
      assert.deepEqual(codes(converse(GREET + said, [size]).text), expected);
  });
}

test('MAIL before LHLO is refused for now', () => {
  assert.match(converse('MAIL FROM:<>\r\n').text, /\r\n451 4\.5\.1 say LHLO first\r\n$/);
});

test('a client whose commands are refused again and again is sent away, for now', () => {
  const { text, isOver } = converse(`${GREET}${'NONSENSE\r\n'.repeat(100)}`);
  const replies = codes(text);
  assert.deepEqual(
    [replies.length, replies.at(-1), isOver],
    [limits.intakeRefusals + 1, 421, true],
  );
});

test('law 5: the recipients above the limit are refused for now, each by its own reply, however many, and the others taken', () => {
  const recipients = Array.from(
    { length: limits.handOverRecipients + 100 },
    (_, n) => `${n}@x.example`,
  );
  const { text, got } = converse(Buffer.concat([Buffer.from(GREET), lmtpMail({ recipients })]));
  assert.equal(text.match(/^452 4\.5\.3 there are more than 10000 recipients\r$/gm)?.length, 100);
  assert.equal(got[0]?.recipients.length, limits.handOverRecipients);
  assert.equal(text.match(/taken for/g)?.length, limits.handOverRecipients);
});

test('the addresses of one message take little memory, which counts, and what is above the limit is refused for now', () => {
  const long = 'x'.repeat(60_000);
  const recipients = Array.from({ length: 200 }, (_, n) => `${n}${long}@x.example`);
  const envelope = lmtpMail({ recipients }).toString('latin1').split('DATA')[0] ?? '';
  const { text, session } = converse(Buffer.from(GREET + envelope));
  assert.equal(
    text.match(/^250 2\.1\.5 OK\r$/gm)?.length,
    Math.floor(limits.handOverAddressBytes / 60_011),
  );
  assert.match(text, /^452 4\.5\.3 the addresses take more than 4194304 bytes\r$/m);
  assert.ok(session.held > 4_000_000 && session.held <= limits.handOverAddressBytes);
});

test('a message that is too large is read to its end, kept nowhere, and refused for now for each recipient', () => {
  const large = lmtpMail({ recipients: ['a@b', 'c@d'], message: `${'x'.repeat(5000)}\n` });
  const dialogue = Buffer.concat([Buffer.from(GREET), large, lmtpMail()]);
  const { text, got, session } = converse(dialogue, [100], 1000);
  assert.deepEqual(codes(text), [250, 250, 250, 354, 452, 452, 250, 250, 354, 250]);
  assert.equal(got.length, 1);
  assert.equal(session.held, 0);
  const half = converse(dialogue.subarray(0, 3000), [100], 1000);
  assert.ok(
    half.session.held < 100,
    'only the addresses are kept, and memory is given back at once',
  );
});

test('an address is everything between the brackets, valid or not: it fails alone later (law 5)', () => {
  for (const address of [
    '',
    '"a>b"@c',
    'a b',
    '<a>',
    'ü@ü',
    '\xff@x',
    '"a> X=1"@b',
    '@a:b@c',
    'x'.repeat(5000),
  ]) {
    const said = Buffer.from(
      `${GREET}MAIL FROM:<${address}>\r\nRCPT TO:<${address}>\r\nDATA\r\n.\r\n`,
      'latin1',
    );
    const { got } = converse(said);
    const reader = new BsmtpReader();
    reader.push(Buffer.from(`MAIL FROM:<${address}>\nRCPT TO:<${address}>\nDATA\n.\n`, 'latin1'));
    const { envelope } = reader.end();
    assert.deepEqual({ sender: got[0]?.sender, recipients: got[0]?.recipients }, envelope, address);
  }
});

// Which line is Exim's

const ID = '1xX9mf-0007EB-1C';
const LINE = `X-Appengine-Mailer-Exim-Id: ${ID}\n`;

/** Messages with such a line here and there; what is left of them, and the id that is found. */
const withLines: [what: string, message: string, left: string, id: string | undefined][] = [
  ['the last header line', `A: b\n${LINE}\nbody\n`, 'A: b\n\nbody\n', ID],
  ['the only header line', `${LINE}\nbody\n`, '\nbody\n', ID],
  ['the last line of a message without body', `A: b\n${LINE}`, 'A: b\n', ID],
  ['the last line of a header with an empty body', `A: b\n${LINE}\n`, 'A: b\n\n', ID],
  ['the only line', LINE, '', ID],
  ['an earlier line alone', `${LINE}A: b\n\nbody\n`, `${LINE}A: b\n\nbody\n`, undefined],
  ['a line of the body', `A: b\n\n${LINE}`, `A: b\n\n${LINE}`, undefined],
  [
    'a forged one before it',
    `X-Appengine-Mailer-Exim-Id: forged\n${LINE}\n${LINE}`,
    `X-Appengine-Mailer-Exim-Id: forged\n\n${LINE}`,
    ID,
  ],
  ['the same line twice', `${LINE}${LINE}\nx\n`, `${LINE}\nx\n`, ID],
  ['a line that goes on in the next one', `${LINE} more\n\nx\n`, `${LINE} more\n\nx\n`, undefined],
  [
    'a line without an id',
    'A: b\nX-Appengine-Mailer-Exim-Id: \n\n',
    'A: b\nX-Appengine-Mailer-Exim-Id: \n\n',
    undefined,
  ],
  [
    'an invalid id',
    'X-Appengine-Mailer-Exim-Id: a/b\n\n',
    'X-Appengine-Mailer-Exim-Id: a/b\n\n',
    undefined,
  ],
  [
    'an id of 65 characters',
    `X-Appengine-Mailer-Exim-Id: ${'a'.repeat(65)}\n\n`,
    `X-Appengine-Mailer-Exim-Id: ${'a'.repeat(65)}\n\n`,
    undefined,
  ],
  [
    'an id of 64 characters',
    `X-Appengine-Mailer-Exim-Id: ${'a'.repeat(64)}\n\n`,
    '\n',
    'a'.repeat(64),
  ],
  [
    'another case',
    `x-appengine-mailer-exim-id: ${ID}\n\n`,
    `x-appengine-mailer-exim-id: ${ID}\n\n`,
    undefined,
  ],
  [
    'a name that goes on',
    `X-Appengine-Mailer-Exim-Id2: ${ID}\n\n`,
    `X-Appengine-Mailer-Exim-Id2: ${ID}\n\n`,
    undefined,
  ],
  ['nothing', '', '', undefined],
  ['an empty line', `\n${LINE}`, `\n${LINE}`, undefined],
];
for (const [what, message, left, id] of withLines) {
  test(`law 2, law 3: Exim's id is taken from the last header line and nowhere else: ${what}`, () => {
    for (const size of [1, 7, 64, 65_536]) {
      const { got } = converse(Buffer.concat([Buffer.from(GREET), lmtpMail({ message })]), [size]);
      assert.deepEqual([got[0]?.bytes.toString(), got[0]?.id], [left, id]);
    }
  });
}

test('law 2: XFORWARD IDENT is the id of the next message alone, and then no line is taken off (law 3)', () => {
  const message = `A: b\n${LINE}\nx\n`;
  const forwarded = (ident: string) =>
    converse(
      Buffer.concat([
        Buffer.from(`${GREET}XFORWARD NAME=[UNAVAILABLE] IDENT=${ident}\r\n`),
        lmtpMail({ message }),
        lmtpMail(),
      ]),
    ).got;
  const [first, second] = forwarded('3C+2D5D');
  assert.deepEqual([first?.id, first?.bytes.toString(), second?.id], ['3C-5D', message, undefined]);
  // Not an id of ours: the message is known by its bytes.
  for (const ident of ['[UNAVAILABLE]', '', 'a+20b', 'a'.repeat(65)]) {
    assert.equal(forwarded(ident)[0]?.id, ID);
  }
});

// Properties

const [LF, CR, DOT] = [0x0a, 0x0d, 0x2e];
const octets = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(DOT, CR, LF, 0, 0xff, 0x3e) },
      { weight: 1, arbitrary: fc.nat(255) },
    ),
    { maxLength: 80 },
  )
  .map((each) => Buffer.from(each));

/** Messages as a mail server has them: lines that end in LF, with a header or without. */
const message = fc
  .tuple(
    fc.constantFrom('', 'A: b\n', LINE, `A: b\r\n${LINE}B: c\n d\n`, 'X-Appengine-Mailer-Exim-I'),
    fc.constantFrom('', '\n', '\n\n'),
    octets,
  )
  .map(([header, blank, bytes]) => {
    const whole = Buffer.concat([Buffer.from(header + blank), bytes]);
    return whole.length === 0 || whole.at(-1) === LF
      ? whole
      : Buffer.concat([whole, Buffer.of(LF)]);
  });
const sizes = fc.oneof(
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }),
);
const addresses = fc.array(
  octets.map((each) =>
    Buffer.from(each.filter((octet) => octet !== LF && octet !== CR)).toString('latin1'),
  ),
  { minLength: 1, maxLength: 3 },
);

test('law 3: any message in any chunks has the envelope, bytes and SHA-256 that exim-pipe reads', (t) => {
  holds(
    t,
    fc.property(message, addresses, sizes, (bytes, given, chunks) => {
      const [sender = '', ...more] = given;
      const recipients = [sender, ...more];
      const commands = `${GREET}MAIL FROM:<${sender}>\r\n${recipients.map((each) => `RCPT TO:<${each}>\r\n`).join('')}DATA\r\n`;
      const dialogue = Buffer.concat([Buffer.from(commands, 'latin1'), lmtpData(bytes, ID)]);
      const [got] = converse(dialogue, chunks).got;

      const reader = new BsmtpReader();
      const lines = `MAIL FROM:<${sender}>\n${recipients.map((each) => `RCPT TO:<${each}>\n`).join('')}DATA\n`;
      const data = bsmtp('', [], bytes).subarray('MAIL FROM:<>\nDATA\n'.length);
      reader.push(Buffer.concat([Buffer.from(lines, 'latin1'), data]));
      const { envelope, pieces, digest } = reader.end();
      assert.deepEqual(got, { ...envelope, id: ID, bytes: Buffer.concat(pieces), digest });
      assert.ok(got.bytes.equals(bytes));
      assert.deepEqual(digest, createHash('sha256').update(bytes).digest());
    }),
    1500,
  );
});

/** Pieces of dialogues, sensible and not. */
const said = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        GREET,
        TO,
        'DATA\r\n',
        '.\r\n',
        'RSET\r\n',
        'NOOP\r\n',
        'XFORWARD IDENT=abc\r\n',
        'RCPT TO:<x>\r\n',
        'QUIT\r\n',
        'EHLO x\r\n',
        'MAIL FROM:<> SIZE=99999999999999\r\n',
        `${TO}DATA\r\nA: b\r\n..\r\n.\r\n`,
      ),
      octets.map((each) => Buffer.from(each).toString('latin1')),
    ),
    { maxLength: 12 },
  )
  .map((pieces) => pieces.join(''));

test('the replies to a dialogue are the same in whatever chunks it comes, and none is 5xx (law 5)', (t) => {
  holds(
    t,
    fc.property(said, sizes, (dialogue, chunks) => {
      const whole = converse(dialogue);
      const { text, got, isOver } = converse(dialogue, chunks);
      assert.deepEqual(
        { text, got, isOver },
        { text: whole.text, got: whole.got, isOver: whole.isOver },
      );
      for (const line of text.split('\r\n').slice(0, -1))
        assert.match(line, /^[234]\d\d[ -][ -~]*$/);
    }),
    1500,
  );
});
