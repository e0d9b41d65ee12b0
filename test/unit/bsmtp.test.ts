import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { encodeAddress } from '../../src/mail/address.ts';
import { limits } from '../../src/limits.ts';
import { BsmtpError, BsmtpReader } from '../../src/intake/bsmtp.ts';
import { holds } from '../support/holds.ts';

interface Message {
  sender: Uint8Array;
  recipients: Uint8Array[];
  bytes: Buffer;
  crlf: boolean;
}

const [LF, CR, DOT] = [0x0a, 0x0d, 0x2e];

/** The octets that a reader of lines and dots may stumble over, and any others. */
const octets = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(DOT, CR, LF, 0, 0xff, 0x3e) },
      { weight: 1, arbitrary: fc.nat(255) },
    ),
    { maxLength: 60 },
  )
  .map((each) => Buffer.from(each));

const address = octets.map((each) => each.filter((octet) => octet !== LF));

const message: fc.Arbitrary<Message> = fc
  .record({
    sender: address,
    recipients: fc.uniqueArray(address, {
      minLength: 1,
      maxLength: 4,
      selector: (each) => Buffer.from(each).toString('latin1'),
    }),
    bytes: octets,
    crlf: fc.boolean(),
  })
  .map(({ bytes, ...given }) => {
    // Exim ends the last line of every message; where there is no line, it writes nothing.
    const end = Buffer.from(bytes.length === 0 ? '' : given.crlf ? '\r\n' : '\n');
    return { ...given, bytes: Buffer.concat([bytes, end]) };
  });

/** Writes a stream octet by octet, after RFC 5321 4.5.2 and nothing of ours. */
function encode({ sender, recipients, bytes, crlf }: Message): Buffer {
  const lineEnd = crlf ? [CR, LF] : [LF];
  const stream: number[] = [];
  const line = (...parts: (string | Uint8Array)[]) => {
    for (const part of parts) stream.push(...Buffer.from(part));
    stream.push(...lineEnd);
  };
  line('MAIL FROM:<', sender, '>');
  for (const recipient of recipients) line('RCPT TO:<', recipient, '>');
  line('DATA');
  let lineStarts = true;
  for (const octet of bytes) {
    if (lineStarts && octet === DOT) stream.push(DOT);
    stream.push(octet);
    lineStarts = octet === LF;
  }
  line('.');
  return Buffer.from(stream);
}

/** Pushes a stream in chunks of these sizes, again and again. */
function read(stream: Buffer, sizes: readonly number[] = [stream.length], bytesMax?: number) {
  const reader = new BsmtpReader(bytesMax);
  for (let at = 0, turn = 0; at < stream.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    // A copy, spoilt afterwards: the reader must not count on the rest of the buffer, nor keep it.
    const chunk = Buffer.from(stream.subarray(at, at + size));
    reader.push(chunk);
    chunk.fill(0);
    at += size;
  }
  const { envelope, pieces, digest } = reader.end();
  return { envelope, bytes: Buffer.concat(pieces), digest };
}

/** Sizes of chunks. */
const sizes = fc.oneof(
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
);

test('any bytes in any chunks give the same envelope, bytes and SHA-256, LF and CRLF (law 3)', (t) => {
  holds(
    t,
    fc.property(message, sizes, (given, chunks) => {
      const { envelope, bytes, digest } = read(encode(given), chunks);
      assert.deepEqual(encodeAddress(envelope.sender), given.sender);
      assert.deepEqual(
        envelope.recipients.map((each) => encodeAddress(each)),
        given.recipients,
      );
      assert.deepEqual(bytes, given.bytes);
      assert.deepEqual(digest, createHash('sha256').update(given.bytes).digest());
    }),
    1500,
  );
});

test('of a line that begins with a dot one dot goes, doubled or not, and nothing else (law 3)', (t) => {
  holds(
    t,
    fc.property(octets, fc.boolean(), sizes, (given, crlf, chunks) => {
      const text = `\n${given.toString('latin1')}\n`;
      const [end, closing] = crlf ? ['\r\n', '.\r\n'] : ['\n', '.\n'];
      fc.pre(!text.includes(`\n${closing}`));
      const envelope = ['MAIL FROM:<>', 'RCPT TO:<a@b>', 'DATA', ''].join(end);
      const stream = Buffer.from(envelope + text.slice(1) + closing, 'latin1');
      const kept = text.replaceAll('\n.', '\n').slice(1);
      assert.equal(read(stream, chunks).bytes.toString('latin1'), kept);
    }),
    1500,
  );
});

test('a large message keeps its bytes over the chunks of a real pipe (law 3)', () => {
  const lines = Array.from({ length: 40_000 }, (_, line) => `${'.'.repeat(line % 4)}${line}\r\r\n`);
  const bytes = Buffer.from(lines.join(''));
  const given = { sender: Buffer.from(''), recipients: [Buffer.from('a@b')], bytes, crlf: false };
  for (const size of [65_536, 4096, 8191]) {
    assert.ok(read(encode(given), [size]).bytes.equals(bytes), `chunks of ${size}`);
  }
});

test('every stream that is cut short is refused, wherever it is cut (law 1)', (t) => {
  holds(
    t,
    fc.property(message, (given) => {
      const stream = encode(given);
      for (let length = 0; length < stream.length; length += 1) {
        assert.throws(() => read(stream.subarray(0, length)), BsmtpError, `cut at ${length}`);
      }
    }),
    100,
  );
});

test('anything after the closing dot is refused, in the same chunk and in a later one', (t) => {
  holds(
    t,
    fc.property(
      message,
      fc.uint8Array({ minLength: 1 }),
      fc.constantFrom(1, 1000),
      (given, more, size) => {
        const stream = Buffer.concat([encode(given), more]);
        assert.throws(() => read(stream, [size]), /after the closing dot/);
      },
    ),
  );
});

test('the size limit counts the message after the doubled dots are undone', () => {
  const bytes = Buffer.from('.\n.\n.a\n');
  const stream = encode({
    sender: Buffer.from(''),
    recipients: [Buffer.from('a@b')],
    bytes,
    crlf: false,
  });
  for (const size of [1, stream.length]) {
    assert.deepEqual(read(stream, [size], bytes.length).bytes, bytes);
    assert.throws(() => read(stream, [size], bytes.length - 1), /larger than the limit of 6 bytes/);
  }
});

test('a line of the envelope may have 64 KiB and not an octet more, ended or not', () => {
  const start = 'MAIL FROM:<';
  const longest = `${start}${'a'.repeat(limits.envelopeLineBytes - start.length - 2)}>\n`;
  new BsmtpReader().push(Buffer.from(longest));
  const tooLong = /a line of the envelope is over 65536 octets/;
  assert.throws(() => new BsmtpReader().push(Buffer.from(longest.replace('<', '<a'))), tooLong);
  assert.throws(() => {
    const endless = new BsmtpReader();
    for (let pushed = 0; pushed <= limits.envelopeLineBytes; pushed += 1024) {
      endless.push(Buffer.alloc(1024, 'a'));
    }
  }, tooLong);
});

test('10,000 recipients are taken, one more is refused, and repeats count once', () => {
  const lines = Array.from({ length: limits.handOverRecipients }, (_, n) => `RCPT TO:<${n}@b>\n`);
  const stream = (...more: string[]) =>
    Buffer.from(['MAIL FROM:<>\n', ...lines, ...more, 'DATA\n.\n'].join(''));
  assert.equal(read(stream()).envelope.recipients.length, limits.handOverRecipients);
  assert.equal(
    read(stream('RCPT TO:<7@b>\n')).envelope.recipients.length,
    limits.handOverRecipients,
  );
  assert.throws(() => read(stream('RCPT TO:<one more@b>\n')), /more than 10000 recipients/);
});

test('an address is all between the first < and the last > of its line', () => {
  for (const [sender, recipient] of [
    ['', '"a>b"@c'],
    ['<a>', '>'],
    ['ü@ü', ''],
    ['a@b>', ' <'],
  ] as const) {
    const stream = `mail from:<${sender}>\nRcpt To:<${recipient}> \ndata\n.\n`;
    const { envelope } = read(Buffer.from(stream));
    assert.deepEqual(envelope, { sender, recipients: [recipient] });
  }
});

const malformed: [name: string, stream: string, fault: RegExp][] = [
  ['nothing', '', /cut short/],
  ['a message without an envelope', 'Subject: x\n\nhello\n.\n', /expected MAIL FROM/],
  ['no sender', 'RCPT TO:<a@b>\nDATA\n.\n', /expected MAIL FROM/],
  ['two senders', 'MAIL FROM:<>\nMAIL FROM:<>\nRCPT TO:<a@b>\nDATA\n.\n', /expected RCPT TO/],
  ['no recipient', 'MAIL FROM:<>\nDATA\n.\n', /no recipient/],
  ['a greeting', 'HELO x\nMAIL FROM:<>\nRCPT TO:<a@b>\nDATA\n.\n', /expected MAIL FROM/],
  ['no <', 'MAIL FROM:a@b\n', /expected MAIL FROM/],
  ['no >', 'MAIL FROM:<a@b\n', /expected MAIL FROM/],
  ['a blank before <', 'MAIL FROM: <a@b>\n', /expected MAIL FROM/],
  ['parameters', 'MAIL FROM:<a@b> SIZE=1\n', /parameters are not supported/],
  ['parameters of a recipient', 'MAIL FROM:<>\nRCPT TO:<a> NOTIFY=NEVER\n', /parameters/],
  ['an empty line', 'MAIL FROM:<>\n\n', /expected RCPT TO/],
  ['a word more after DATA', 'MAIL FROM:<>\nRCPT TO:<a>\nDATA x\n', /expected RCPT TO/],
  ['LF, then CRLF', 'MAIL FROM:<>\nRCPT TO:<a>\r\n', /end in different ways/],
  ['CRLF, then LF', 'MAIL FROM:<>\r\nRCPT TO:<a>\n', /end in different ways/],
  ['DATA in CRLF after LF', 'MAIL FROM:<>\nRCPT TO:<a>\nDATA\r\n', /end in different ways/],
  ['CR alone as line end', 'MAIL FROM:<>\rRCPT TO:<a>\rDATA\r.\r', /cut short/],
  ['. CRLF where lines end in LF', 'MAIL FROM:<>\nRCPT TO:<a>\nDATA\nx\n.\r\n', /cut short/],
  ['. LF where lines end in CRLF', 'MAIL FROM:<>\r\nRCPT TO:<a>\r\nDATA\r\n.\n', /cut short/],
  ['a last line without its end', 'MAIL FROM:<>\nRCPT TO:<a>\nDATA\nx.\n', /cut short/],
  ['two messages', 'MAIL FROM:<>\nRCPT TO:<a>\nDATA\n.\n'.repeat(2), /after the closing dot/],
];
for (const [name, stream, fault] of malformed) {
  test(`refused: ${name}`, () => {
    for (const size of [1, stream.length]) {
      assert.throws(
        () => read(Buffer.from(stream), [size]),
        (error) => error instanceof BsmtpError && fault.test(error.message),
      );
    }
  });
}
