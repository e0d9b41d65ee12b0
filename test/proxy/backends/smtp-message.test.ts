import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { smtpBackend } from '../../../src/proxy/backends/smtp.ts';
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
  ];
  await sendWith(backend, { sender: '', recipients, bytes: 'To: other@example.net\n\n' });
  await sendWith(backend, { sender: '"a b"@example.com' });
  assert.deepEqual(
    smtp.said('MAIL').map((line) => line.split('> ')[0]),
    ['MAIL FROM:<', 'MAIL FROM:<"a b"@example.com'],
  );
  assert.deepEqual(
    smtp.said('RCPT').slice(0, -1),
    recipients.map((recipient) => `RCPT TO:<${recipient}>`),
  );
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
  const offered = smtpBackend(smtp.relay());
  assert.equal(
    (await sendWith(offered, { recipients })).filter((line) => / 2\./.test(line)).length,
    3,
  );
  await sendWith(offered, { sender: 'ö@example.com' });
  await sendWith(offered);
  assert.deepEqual(smtp.said('MAIL'), [
    'MAIL FROM:<s@example.com> SMTPUTF8 SIZE=3',
    octets('MAIL FROM:<ö@example.com> SMTPUTF8 SIZE=3'),
    'MAIL FROM:<s@example.com> SIZE=3',
  ]);
  assert.deepEqual(
    smtp.said('RCPT').slice(0, 3),
    recipients.map((r) => octets(`RCPT TO:<${r}>`)),
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
  assert.equal(smtp.messages.length, 4, 'with nobody left nothing is sent');
});

test('an address that nodemailer refuses fails alone with 5.1.3', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  const odd = '"a<b>"@example.org';
  assert.deepEqual((await sendWith(backend, { recipients: [odd, 'r@example.org'] })).toSorted(), [
    `${odd} 5.1.3 an address with < or > is not sent by SMTP`,
    SENT,
  ]);
  assert.deepEqual(await sendWith(backend, { sender: odd }), [
    'r@example.org 5.1.7 sender: an address with < or > is not sent by SMTP',
  ]);
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
