import assert from 'node:assert/strict';
import { connect } from 'node:net';
import test from 'node:test';
import * as fc from 'fast-check';
import { systemClock } from '../../../src/host/clock.ts';
import { SmtpClient } from '../../../src/host/net/smtp-client.ts';
import { addressFault } from '../../../src/mail/address-fault.ts';
import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { holds } from '../../support/holds.ts';
import { ScriptedSmtp } from '../../support/scripted-smtp.ts';
import { sendWith } from '../../support/send-with.ts';

const SENT = 'r@example.org 2.0.0 250 2.0.0 Ok: queued as 4711';

/** Every line end is CRLF, the last too, and nothing else is changed. */
function inCrlf(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1').replace(/\r\n|\r|\n/g, '\r\n');
  return Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1');
}

test('only line ends change: NUL, 8-bit, dots, long lines stay; the size is announced (law 3)', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  const piece = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom('\r', '\n', '\r\n', '.', '..', '\0', '\xff', ' ', 'a'),
    },
    { weight: 1, arbitrary: fc.constantFrom('x'.repeat(1001), '\r\n.\r\n', 'y'.repeat(65_530)) },
  );
  await holds(
    t,
    fc.asyncProperty(fc.array(piece, { maxLength: 40 }), async (pieces) => {
      const bytes = Buffer.from(pieces.join(''), 'latin1');
      assert.deepEqual(await sendWith(backend, { bytes }), [SENT]);
      const came = smtp.messages.at(-1)?.bytes ?? Buffer.alloc(0);
      assert.ok(came.equals(inCrlf(bytes)), JSON.stringify(came.toString('latin1')));
      const size = /SIZE=(\d+)/.exec(smtp.said('MAIL').at(-1) ?? '')?.[1];
      assert.equal(Number(size), came.length);
    }),
  );
});

test('line ends that fall between two pieces of a large message are whole (law 3)', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  for (const across of ['\r\n.x', '\n.x', '\r.x', 'y\n.\n', 'y\r\n.\r\n']) {
    for (let at = 65_536 - across.length; at <= 65_536; at += 1) {
      const bytes = Buffer.from(`${'x'.repeat(at)}${across}`);
      assert.deepEqual(await sendWith(backend, { bytes }), [SENT]);
      assert.ok(
        smtp.messages.at(-1)?.bytes.equals(inCrlf(bytes)),
        `${JSON.stringify(across)} ${at}`,
      );
    }
  }
});

test('the envelope goes as it came, the null sender too (law 4)', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  const recipients = [
    'UPPER.case@Example.ORG',
    '"quoted \\" @ local"@example.org',
    '-dash@example.org',
    '.dots..everywhere.@example.org',
    "o'brien+tag=1!%#$&*/?^_`{|}~@example.org",
    'r@[192.0.2.1]',
    'r@[IPv6:2001:db8::1]',
    'r@example.org.',
    '"<tag>"@example.org',
    '"a>b"@example.org',
    '"a> SIZE=1 <\\"\\>"@example.org',
    String.raw`"back\\slash"@example.org`,
  ];
  await sendWith(backend, { sender: '', recipients, bytes: 'To: other@example.net\n\n' });
  for (const sender of ['"a b"@example.com', '"<tag>"@example.com', '"a> b<"@example.com']) {
    await sendWith(backend, { sender });
  }
  assert.deepEqual(smtp.said('MAIL'), [
    'MAIL FROM:<> SIZE=25',
    'MAIL FROM:<"a b"@example.com> SIZE=3',
    'MAIL FROM:<"<tag>"@example.com> SIZE=3',
    'MAIL FROM:<"a> b<"@example.com> SIZE=3',
  ]);
  assert.deepEqual(
    smtp.said('RCPT').slice(0, recipients.length),
    recipients.map((recipient) => `RCPT TO:<${recipient}>`),
  );
});

function notB(line: string): string {
  return line.includes('<b>') ? '550 5.1.1 no such user' : '250 ok';
}

test('a refusal is that of its recipient, be there < and > in the address (law 5)', async (t) => {
  const recipients = ['"<a>"@example.org', '"<b>"@example.org', 'c@example.org'];
  for (const EHLO of ['250-relay.example\n250 PIPELINING', '250 relay.example']) {
    const smtp = await ScriptedSmtp.start(t, { EHLO, RCPT: notB });
    assert.deepEqual(await sendWith(smtpBackend(smtp.relay()), { recipients }), [
      '"<a>"@example.org 2.0.0 250 2.0.0 Ok: queued as 4711',
      '"<b>"@example.org 5.1.1 550 5.1.1 no such user',
      'c@example.org 2.0.0 250 2.0.0 Ok: queued as 4711',
    ]);
  }
});

test('8-bit octets are announced where that is offered, and sent anyway where not (law 3)', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const bytes = Buffer.from('Subject: \xfc\n\n\x80\n', 'latin1');
  await sendWith(smtpBackend(smtp.relay()), { bytes });
  await sendWith(smtpBackend(smtp.relay()), { bytes: 'Subject: u\n\n' });
  smtp.script['EHLO'] = '250 relay.example';
  await sendWith(smtpBackend(smtp.relay()), { bytes });
  assert.deepEqual(smtp.said('MAIL'), [
    'MAIL FROM:<s@example.com> BODY=8BITMIME SIZE=17',
    'MAIL FROM:<s@example.com> SIZE=14',
    'MAIL FROM:<s@example.com>',
  ]);
  assert.deepEqual(smtp.messages[2]?.bytes, inCrlf(bytes));
});

/** As the scripted server tells lines. */
function octets(text: string): string {
  return Buffer.from(text).toString('latin1');
}

test('SMTPUTF8 is used when an address needs it; where it is not offered, such ones fail alone', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const recipients = ['ü@example.org', 'r@example.org', 'r@bücher.example'];
  const odd = ['\ufeff@example.org', '"<ü>"@example.org'];
  const offered = smtpBackend(smtp.relay());
  assert.equal(
    (await sendWith(offered, { recipients })).filter((line) => / 2\./.test(line)).length,
    3,
  );
  await sendWith(offered, { sender: 'ö@example.com' });
  await sendWith(offered);
  for (const sender of odd) await sendWith(offered, { sender, recipients: [sender] });
  assert.deepEqual(smtp.said('MAIL'), [
    'MAIL FROM:<s@example.com> SMTPUTF8 SIZE=3',
    octets('MAIL FROM:<ö@example.com> SMTPUTF8 SIZE=3'),
    'MAIL FROM:<s@example.com> SIZE=3',
    ...odd.map((address) => octets(`MAIL FROM:<${address}> SMTPUTF8 SIZE=3`)),
  ]);
  const told = smtp.said('RCPT').filter((line) => line !== 'RCPT TO:<r@example.org>');
  assert.deepEqual(
    told,
    ['ü@example.org', 'r@bücher.example', ...odd].map((r) => octets(`RCPT TO:<${r}>`)),
  );

  smtp.script['EHLO'] = '250-relay.example\n250 X-SMTPUTF8';
  const without = smtpBackend(smtp.relay());
  const refused = '5.6.7 the relay does not offer SMTPUTF8, which this address needs';
  assert.deepEqual((await sendWith(without, { recipients })).toSorted(), [
    `r@bücher.example ${refused}`,
    SENT,
    `ü@example.org ${refused}`,
  ]);
  assert.deepEqual(await sendWith(without, { sender: 'ö@example.com' }), [
    `r@example.org ${refused.replace('the', 'sender: the')}`,
  ]);
  assert.equal(smtp.messages.length, 6, 'with nobody left nothing is sent');
});

test('an address that is not valid fails alone with 5.1.3, and nothing of it is sent', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  const injections = [
    'a@example.org\r\nRCPT TO:<evil@example.net>',
    'a@example.org\n',
    '"a\0"@example.org',
    '"a\x01b\x02"@example.org',
    'a> NOTIFY=NEVER <b@example.org',
    '<a@example.org>',
    '"a"> <"b"@example.org',
    '',
  ];
  const told = await sendWith(backend, { recipients: [...injections, 'r@example.org'] });
  assert.equal(told.filter((line) => / 5\.1\.3 /s.test(line)).length, injections.length);
  assert.equal(told.at(-1), SENT);
  assert.deepEqual(smtp.said('RCPT'), ['RCPT TO:<r@example.org>']);
  const lines = smtp.lines.length;
  for (const sender of injections.slice(0, -1)) {
    const [line = ''] = await sendWith(backend, { sender });
    assert.match(line, /^r@example\.org 5\.1\.7 sender: the /);
  }
  assert.equal(smtp.lines.length, lines);
});

test('whatever is an address goes to the letter, and whatever is none is not written at all', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const socket = connect(smtp.port, '127.0.0.1');
  const client = new SmtpClient({
    clock: systemClock,
    socket,
    host: '127.0.0.1',
    security: 'none',
    name: undefined,
  });
  t.after(() => client.close());
  await client.connect();
  const odd = ['\r\n', '\n', '\0', '\x01', '\x02', '\x80', '\ufeff', '\u2028', 'ü'];
  const legal = ['a', '.', '"', '\\', '<', '>', '> SIZE=1', 'RCPT TO:<', '@', ' '];
  const piece = fc.constantFrom(...odd, ...legal);
  const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''));
  const quoted = text.map((each) => `"${each}"`);
  const address = fc.oneof(text, quoted).map((local) => `${local}@example.org`);
  await holds(
    t,
    fc.asyncProperty(address, async (given) => {
      const before = smtp.lines.length;
      const envelope = { from: given, to: [given] };
      const { ended, stage } = await client.send(envelope, [Buffer.from('x\n')]);
      if (addressFault(given) !== undefined) {
        assert.ok(ended instanceof Error);
        assert.deepEqual([stage, smtp.lines.length], ['envelope', before]);
        return;
      }
      assert.equal(stage, 'whole');
      const [from = '', to] = smtp.lines.slice(before);
      assert.equal(from.replace(/ SMTPUTF8$/, ''), octets(`MAIL FROM:<${given}>`));
      assert.equal(to, octets(`RCPT TO:<${given}>`));
    }),
    2000,
  );
});

test('a message larger than the relay says it takes fails with 5.3.4, and is not sent', async (t) => {
  const smtp = await ScriptedSmtp.start(t, { EHLO: '250-relay.example\n250 SIZE 100' });
  const backend = smtpBackend(smtp.relay());
  assert.match(
    (await sendWith(backend, { bytes: `${'x'.repeat(99)}\n` })).join(),
    /^r@example.org 5\.3\.4 .*100$/,
  );
  assert.deepEqual(smtp.said('MAIL'), []);
  assert.deepEqual(await sendWith(backend, { bytes: `${'x'.repeat(98)}\n` }), [SENT]);
  smtp.script['MAIL'] = '552 too large';
  assert.deepEqual(await sendWith(backend), ['r@example.org 5.3.4 552 too large']);
});
