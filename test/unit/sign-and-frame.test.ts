import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { decodeAddress } from '../../src/mail/address.ts';
import { limits } from '../../src/limits.ts';
import { decodeFrame, encodeFrame, FrameError } from '../../src/wire/frame.ts';
import { sign, verify, type Signed } from '../../src/wire/sign.ts';
import { decodeVerdicts, encodeVerdicts, type Verdict } from '../../src/wire/verdicts.ts';
import { holds } from '../support/holds.ts';

const bytes = fc.uint8Array({ maxLength: 80 }).map((each) => Buffer.from(each));

// Made with `openssl dgst -sha256 -mac HMAC`, the first from an example of Standard Webhooks.
const vectors: [name: string, key: Buffer, body: Buffer, signature: string][] = [
  [
    'the example of Standard Webhooks, its key decoded',
    Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64'),
    Buffer.from('{"test": 2432232314}'),
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  ],
  [
    'a key with its prefix, as it is written, and a body that is not text',
    Buffer.from('whsec_as it is written'),
    Buffer.from('\0\xff\r\n', 'latin1'),
    'v1,N3hIoPbo3lSk/CkJV3GEMqhNa5HSLtluVFqaLfW8jsE=',
  ],
];
for (const [name, key, body, signature] of vectors) {
  test(`signed as Standard Webhooks does: ${name}`, () => {
    const signed = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: '1614265330', body: [body] };
    assert.equal(sign(key, signed), signature);
    assert.equal(verify([key], signature, signed), key);
  });
}

const word = fc.string({ minLength: 1, maxLength: 12 });
const signedMessage = fc.record({ key: bytes, id: word, timestamp: word, body: bytes });

test('a body is signed the same in whatever pieces it is', (t) => {
  holds(
    t,
    fc.property(signedMessage, fc.nat(80), ({ key, body, ...rest }, cut) => {
      const whole = sign(key, { ...rest, body: [body] });
      assert.equal(
        sign(key, { ...rest, body: [body.subarray(0, cut), body.subarray(cut)] }),
        whole,
      );
    }),
  );
});

test('one octet changed anywhere, in what is signed, the signature or the key, is refused', (t) => {
  const part = fc.constantFrom('id', 'timestamp', 'body', 'signature', 'key');
  const change = fc.record({ at: fc.nat(), by: fc.integer({ min: 1, max: 127 }) });
  holds(
    t,
    fc.property(signedMessage, part, change, ({ key, body, ...rest }, changed, { at, by }) => {
      const signature = sign(key, { ...rest, body: [body] });
      const given = { key, body, id: rest.id, timestamp: rest.timestamp, signature };
      const octets = Buffer.from(given[changed]);
      fc.pre(octets.length > 0);
      const where = at % octets.length;
      octets[where] = (octets[where] ?? 0) ^ by;
      const forged = {
        ...given,
        [changed]: Buffer.isBuffer(given[changed]) ? octets : octets.toString(),
      };
      const { id, timestamp } = forged;
      const valid = verify([forged.key], forged.signature, { id, timestamp, body: [forged.body] });
      assert.equal(valid, undefined);
    }),
    2000,
  );
});

test('nothing is accepted without a signature, or with one that is cut or of another version', () => {
  const key = Buffer.from('key');
  const signed: Signed = { id: 'a', timestamp: '1', body: [] };
  const signature = sign(key, signed);
  const others = ['', ' ', 'v1,', signature.slice(0, -1), `${signature}=`, signature.slice(3)];
  for (const given of [...others, signature.replace('v1', 'v2'), signature.replace('v1', 'v1a')]) {
    assert.equal(verify([key], given, signed), undefined, given);
  }
  assert.equal(verify([], signature, signed), undefined);
});

test('any of several keys and of up to eight signatures is found', () => {
  const [old, current, foreign] = ['old', 'current', 'foreign'].map((each) => Buffer.from(each));
  assert.ok(old && current && foreign);
  const signed: Signed = { id: 'a', timestamp: '1', body: [Buffer.from('x')] };
  assert.equal(verify([current, old], sign(old, signed), signed), old);
  assert.equal(verify([current, old], sign(foreign, signed), signed), undefined);
  const seven = Array.from({ length: 7 }, () => sign(foreign, signed));
  assert.equal(verify([current], [...seven, sign(current, signed)].join(' '), signed), current);
  const eight = [...seven, sign(foreign, signed)];
  assert.equal(verify([current], [...eight, sign(current, signed)].join(' '), signed), undefined);
});

const address = bytes.map((octets) => decodeAddress(octets));
const addresses = fc.uniqueArray(address, { maxLength: 4 });

test('envelope and bytes come out of a frame as they went in (law 3, law 4)', (t) => {
  holds(
    t,
    fc.property(address, addresses, bytes, (sender, recipients, message) => {
      const body = Buffer.concat([encodeFrame({ sender, recipients }), message]);
      const decoded = decodeFrame(body);
      assert.deepEqual(decoded.envelope, { sender, recipients });
      assert.deepEqual(decoded.bytes, message);
      assert.equal(decoded.bytes.buffer, body.buffer, 'a view, not a copy');
    }),
    1000,
  );
});

const NAMES = ['sender', 'recipients', 'id', 'verdicts', 'recipient', 'status', 'reason'];
const NAMES_OF_OBJECTS = ['toString', 'valueOf', 'toJSON', '__proto__', 'constructor', 'length'];

/** JSON that has our names with other types, and names that JavaScript minds. */
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    fc.constantFrom(null, true, 0, 1.5, '', 'one', 'a@b', '5.1.1', '2.0.0', '5', 'why'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...NAMES, ...NAMES_OF_OBJECTS), tie('value'), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
  ),
})).value;

test('arbitrary bytes and JSON are a frame or a FrameError, never anything else', (t) => {
  const line = fc.oneof(
    json.map((value) => Buffer.from(JSON.stringify(value))),
    fc
      .record({ sender: json, recipients: json })
      .map((value) => Buffer.from(JSON.stringify(value))),
    bytes,
  );
  holds(
    t,
    fc.property(line, fc.constantFrom('', '\n', '\nx'), (start, end) => {
      try {
        const { envelope } = decodeFrame(Buffer.concat([start, Buffer.from(end)]));
        assert.ok(
          [envelope.sender, ...envelope.recipients].every((each) => typeof each === 'string'),
        );
      } catch (error) {
        assert.ok(error instanceof FrameError, String(error));
        assert.doesNotMatch(error.message, /\n/);
      }
    }),
    3000,
  );
});

const framed = (value: unknown) => Buffer.from(`${JSON.stringify(value)}\n`);
const many = Array.from({ length: limits.handOverRecipients + 1 }, (_, n) => `${n}@b`);
const badFrames: [name: string, body: Buffer, fault: RegExp][] = [
  ['nothing', Buffer.alloc(0), /no line of JSON/],
  ['a line without its end', Buffer.from('{}'), /no line of JSON/],
  ['an empty line', Buffer.from('\n'), /not JSON in UTF-8/],
  ['half of the JSON', Buffer.from('{"sender":\n'), /not JSON in UTF-8/],
  ['JSON that is not UTF-8', Buffer.from('{"sender":"\xfc"}\n', 'latin1'), /not JSON in UTF-8/],
  ['very deep JSON', Buffer.from(`${'['.repeat(1e6)}\n`), /not an envelope/],
  ['null', framed(null), /"sender"/],
  ['no sender', framed({ recipients: [] }), /"sender" is not a string/],
  ['no recipients', framed({ sender: '' }), /"recipients" is not a list/],
  ['an invalid recipient', framed({ sender: '', recipients: ['a', 1] }), /"recipients"/],
  ['a recipient twice', framed({ sender: '', recipients: ['a', 'b', 'a'] }), /listed twice/],
  ['10,001 recipients', framed({ sender: '', recipients: many }), /more than 10000/],
  ['a long line', Buffer.from(`${' '.repeat(limits.envelopeBytes)}{}\n`), /too long/],
];
for (const [name, body, fault] of badFrames) {
  test(`not a frame: ${name}`, () => {
    assert.throws(
      () => decodeFrame(body),
      (error) => error instanceof FrameError && fault.test(error.message),
    );
  });
}

const verdict = fc.record(
  {
    status: fc.constantFrom('2.0.0', '4.2.2', '5.1.1', '5.999.999'),
    reason: fc.string({ unit: 'binary', maxLength: 20 }),
    remoteMta: fc.constantFrom('relay.example.org', '[192.0.2.1]'),
  },
  { requiredKeys: ['status', 'reason'] },
);

test('verdicts come out of an answer as they went in', (t) => {
  const given = fc.uniqueArray(fc.tuple(address, verdict), {
    maxLength: 4,
    selector: ([to]) => to,
  });
  holds(
    t,
    fc.property(word, given, (id, pairs) => {
      const verdicts = pairs.map(([recipient, said]) => ({ recipient, ...said }));
      const recipients = pairs.map(([recipient]) => recipient);
      assert.deepEqual(decodeVerdicts(encodeVerdicts(id, verdicts), id, recipients), verdicts);
    }),
    1000,
  );
});

test('an answer is verdicts on exactly these recipients, or a fault, and never throws (law 5)', (t) => {
  const answer = fc.oneof(
    json.map((value) => Buffer.from(JSON.stringify(value))),
    fc
      .array(fc.record({ recipient: fc.constantFrom('a@b', 'c@d'), status: json, reason: json }))
      .map((verdicts) => Buffer.from(JSON.stringify({ id: 'one', verdicts }))),
    bytes,
  );
  const recipients = fc.constantFrom(['a@b'], ['a@b', 'c@d'], []);
  holds(
    t,
    fc.property(answer, recipients, (body, asked) => {
      const decoded = decodeVerdicts(body, 'one', asked);
      if (!Array.isArray(decoded)) return assert.match(decoded.fault, /^the answer .+$/);
      assert.deepEqual(
        decoded.map(({ recipient }) => recipient),
        asked,
      );
      assert.ok(decoded.every(({ status }) => /^[245]\.\d+\.\d+$/.test(status)));
    }),
    5000,
  );
});

const good: Verdict = { recipient: 'a@b', status: '2.0.0', reason: 'ok' };
const answered = (...verdicts: unknown[]) => JSON.stringify({ id: 'one', verdicts });
const deep = `${'['.repeat(1e5)}${']'.repeat(1e5)}`;
const badAnswers: [name: string, body: string, fault: RegExp][] = [
  ['an HTML page', '<html></html>', /not JSON/],
  ['a cut-off answer', answered(good, good).slice(0, -1), /not JSON/],
  ['another id', answered(good, good).replace('one', 'two'), /another message/],
  ['no verdicts', '{"id":"one"}', /no verdicts/],
  ['too few', answered(good), /1 verdicts for 2 recipients/],
  ['too many', answered(good, good, good), /3 verdicts for 2 recipients/],
  ['another order', answered({ ...good, recipient: 'c@d' }, good), /other recipients/],
  ['a recipient twice', answered(good, good), /other recipients/],
  ['null', answered(null, good), /other recipients/],
  ['no status', answered({ ...good, status: undefined }, good), /a verdict that cannot be read/],
  [
    'an SMTP code',
    answered({ ...good, status: '550' }, good),
    /a verdict that cannot be read: "550"/,
  ],
  [
    'an unknown class',
    answered({ ...good, status: '3.0.0' }, good),
    /a verdict that cannot be read/,
  ],
  [
    'an object',
    answered({ ...good, status: { toString: 1 } }, good),
    /a verdict that cannot be read/,
  ],
  [
    'very deep JSON',
    answered(good, { recipient: 'c@d', status: 'DEEP' }).replace('"DEEP"', deep),
    /read: object/,
  ],
  ['no reason', answered({ ...good, reason: null }, good), /without a reason/],
];
for (const [name, body, fault] of badAnswers) {
  test(`no verdicts: ${name} (law 5)`, () => {
    const decoded = decodeVerdicts(Buffer.from(body), 'one', ['a@b', 'c@d']);
    assert.match('fault' in decoded ? decoded.fault : 'verdicts', fault);
  });
}

test('a long reason is cut, and so is what is shown of a bad status', () => {
  const long = 'x'.repeat(2 * limits.reasonChars);
  const [cut] = decodeVerdicts(Buffer.from(answered({ ...good, reason: long })), 'one', [
    'a@b',
  ]) as Verdict[];
  assert.equal(cut?.reason.length, limits.reasonChars);
  const bad = decodeVerdicts(Buffer.from(answered({ ...good, status: long })), 'one', ['a@b']);
  assert.ok('fault' in bad && bad.fault.length < 150);
});

test('an invalid name of a mail server is left out, and its verdict counts (law 5)', () => {
  for (const odd of ['', 'a b', 'a\r\nb', 'ü', 'x'.repeat(256), 7, null, ['a']]) {
    const body = Buffer.from(answered({ ...good, remote_mta: odd }));
    assert.deepEqual(decodeVerdicts(body, 'one', ['a@b']), [good]);
  }
});

test('fix_sender is in the frame only when it is wanted, and true or false when it is there', () => {
  const envelope = { sender: 's@example.com', recipients: [] };
  assert.equal(encodeFrame(envelope).includes('fix_sender'), false);
  assert.equal(decodeFrame(encodeFrame(envelope)).fixSender, false);
  assert.equal(
    encodeFrame(envelope, { fixSender: true }).toString(),
    '{"sender":"s@example.com","recipients":[],"fix_sender":true}\n',
  );
  assert.equal(decodeFrame(encodeFrame(envelope, { fixSender: true })).fixSender, true);
  const line = '{"sender":"","recipients":[],"fix_sender":"no"}\n';
  assert.throws(() => decodeFrame(Buffer.from(line)), FrameError);
});
