import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'node:test';
import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { ScriptedSmtp, type SmtpScript } from '../../support/scripted-smtp.ts';
import { SlowRelay } from '../../support/slow-relay.ts';
import { sendWith } from '../../support/send-with.ts';

const recipients = ['a@example.org', 'b@example.org'];

/** Sends one message to a server with this script and tells what came of it, without the port. */
async function outcome(t: Parameters<typeof ScriptedSmtp.start>[0], script: SmtpScript) {
  const smtp = await ScriptedSmtp.start(t, script);
  const told = await sendWith(smtpBackend(smtp.relay()), { recipients });
  return { smtp, told: told.map((line) => line.replace(`127.0.0.1:${smtp.port}`, 'R')) };
}

/** Answers RCPT so for the first recipient, and takes the others. */
function notA(refusal: string) {
  return (line: string) => (line.includes('<a@') ? refusal : '250 ok');
}

const plain = { EHLO: '250-relay.example\n250 8BITMIME' };
const pipelining = {};

for (const [offered, ehlo] of [
  ['PIPELINING', pipelining],
  ['nothing', plain],
] as const) {
  test(`with a relay that offers ${offered}: its refusals are about the message (law 5)`, async (t) => {
    const rows: [SmtpScript, string][] = [
      [{ MAIL: '451 4.7.1 later' }, '4.7.1 451 4.7.1 later'],
      [{ MAIL: '550 5.1.8 who is that' }, '5.1.8 550 5.1.8 who is that'],
      [{ RCPT: '450 later' }, '4.0.0 450 later'],
      [{ RCPT: '550-5.1.1 no\n550 5.1.1 such' }, '5.1.1 550 5.1.1 no such'],
      [{ DATA: '452 4.3.1 full' }, '4.3.1 452 4.3.1 full'],
      [{ DATA: '554 5.5.0 no' }, '5.5.0 554 5.5.0 no'],
      [{ message: '451 4.3.0 later' }, '4.3.0 451 4.3.0 later'],
      [{ message: '554 5.7.1 spam' }, '5.7.1 554 5.7.1 spam'],
    ];
    for (const [script, verdict] of rows) {
      const { told, smtp } = await outcome(t, { ...ehlo, ...script });
      assert.deepEqual(
        told,
        recipients.map((recipient) => `${recipient} ${verdict}`),
      );
      assert.deepEqual(smtp.messages, []);
    }
  });

  test(`with a relay that offers ${offered}: the refusal of a recipient counts whatever follows (law 5)`, async (t) => {
    for (const [script, b] of [
      [{}, '2.0.0 250 2.0.0 Ok: queued as 4711'],
      [{ DATA: '451 4.3.0 later' }, '4.3.0 451 4.3.0 later'],
      [{ message: '451 4.3.0 later' }, '4.3.0 451 4.3.0 later'],
    ] as const) {
      const { told } = await outcome(t, { ...ehlo, RCPT: notA('550 5.1.1 no a'), ...script });
      assert.deepEqual(told, ['a@example.org 5.1.1 550 5.1.1 no a', `b@example.org ${b}`]);
    }
  });

  test(`with a relay that offers ${offered}: trouble of the relay itself is not about the message (law 5)`, async (t) => {
    const rows: [SmtpScript, string][] = [
      [{ greeting: '554 no service' }, 'it answered "554 no service" to us'],
      [{ greeting: '421 4.3.2 busy' }, 'it answered "421 4.3.2 busy" to us'],
      [{ greeting: 'cut' }, 'Connection closed unexpectedly'],
      [{ EHLO: '421 bye' }, 'it answered "421 bye" to EHLO'],
      [{ EHLO: '550 no', HELO: '550 never' }, 'it answered "550 never" to HELO'],
      [{ MAIL: '530 5.7.0 log in' }, '530 5.7.0 log in'],
      [{ RCPT: '535 5.7.8 who' }, '535 5.7.8 who'],
      [{ RCPT: '550 5.4.5 daily limit' }, '550 5.4.5 daily limit'],
      [{ message: '550 5.4.5 daily limit' }, '550 5.4.5 daily limit'],
      [
        { MAIL: '550 5.7.30 Basic authentication is not supported' },
        '550 5.7.30 Basic authentication is not supported. To do: this relay takes no passwords any more: use OAuth (see appengine-mailer-oauth(7))',
      ],
      [{ RCPT: '550 5.7.708 traffic not accepted' }, '550 5.7.708 traffic not accepted'],
      [{ message: '550 5.7.705 tenant' }, '550 5.7.705 tenant'],
      [{ message: '421 4.3.2 bye' }, '421 4.3.2 bye'],
      [{ MAIL: '421 4.7.0 bye' }, '421 4.7.0 bye'],
      [{ RCPT: '421 4.7.0 bye' }, '421 4.7.0 bye'],
      [{ MAIL: 'cut' }, 'Connection closed unexpectedly'],
      [{ RCPT: 'cut' }, 'Connection closed unexpectedly'],
      [{ DATA: 'cut' }, 'Connection closed unexpectedly'],
      [{ MAIL: 'what?' }, 'what?'],
      [{ DATA: '250 2.0.0 ok' }, 'it answered "250 2.0.0 ok" to DATA'],
      [{ DATA: '355 go on' }, 'it answered "355 go on" to DATA'],
    ];
    for (const [script, why] of rows) {
      const { told, smtp } = await outcome(t, { ...ehlo, ...script });
      assert.deepEqual(told, [`unavailable: the relay R: ${why}`], JSON.stringify(script));
      assert.deepEqual(smtp.messages, []);
    }
  });
}

test('a connection on which DATA was answered wrongly is not used on, and gets nothing of the message', async (t) => {
  const { smtp } = await outcome(t, { DATA: '250 2.0.0 ok' });
  const [socket] = smtp.sockets;
  if (!socket?.closed)
    await once(socket as Socket, 'close', { signal: AbortSignal.timeout(10_000) });
  assert.deepEqual(
    smtp.lines.slice(1).map((line) => line.slice(0, 4)),
    ['MAIL', 'RCPT', 'RCPT', 'DATA'],
  );
});

test('a relay that takes one recipient and has trouble of its own with another defers that one (law 5)', async (t) => {
  const { told } = await outcome(t, { RCPT: notA('550 5.4.5 daily limit') });
  assert.deepEqual(told, [
    'a@example.org 4.4.5 550 5.4.5 daily limit',
    'b@example.org 2.0.0 250 2.0.0 Ok: queued as 4711',
  ]);
  const microsoft = await outcome(t, { RCPT: notA('550 5.7.705 tenant has exceeded threshold') });
  assert.deepEqual(microsoft.told, [
    'a@example.org 4.7.705 550 5.7.705 tenant has exceeded threshold',
    'b@example.org 2.0.0 250 2.0.0 Ok: queued as 4711',
  ]);
});

test('cut after the end of the message: unknown; cut before it: nothing was sent (law 6)', async (t) => {
  const { told } = await outcome(t, { message: 'cut' });
  assert.deepEqual(told, ['unknown: the relay R: Connection closed unexpectedly']);

  const smtp = await ScriptedSmtp.start(t);
  const sending = sendWith(smtpBackend(smtp.relay()), { bytes: Buffer.alloc(20_000_000, 'x\n') });
  smtp.script['DATA'] = () => {
    const [socket] = smtp.sockets;
    // Long before the end: a few pieces came.
    socket?.once('data', () => socket.pause());
    setTimeout(() => socket?.destroy(), 100);
    return '354 go on';
  };
  const [line = ''] = await sending;
  assert.match(line, /^unavailable: the relay .*: (?:Connection closed|read ECONNRESET|write E)/);
});

test('an answer in the midst of the message is the answer, and the connection is not used on (law 5)', async (t) => {
  const big = { recipients, bytes: Buffer.alloc(20_000_000, 'x\n') };
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  for (const [answer, expected] of [
    ['552 5.3.4 too large', 'a@example.org 5.3.4 552 5.3.4 too large'],
    ['250 2.0.0 taken already', 'unknown: '],
  ] as const) {
    smtp.script['DATA'] = () => {
      const socket = smtp.sockets.at(-1);
      socket?.pause();
      setTimeout(() => socket?.write(`${answer}\r\n`), 50);
      return '354 go on';
    };
    const [first = ''] = await sendWith(backend, big);
    assert.ok(first.startsWith(expected), first);
    const socket = smtp.sockets.at(-1);
    assert.ok(socket);
    const closed = once(socket, 'close', { signal: AbortSignal.timeout(10_000) });
    socket.resume();
    await closed;
  }
  delete smtp.script['DATA'];
  assert.match((await sendWith(backend)).join(), / 2\.0\.0 /);
  assert.equal(smtp.sockets.length, 3);
});

for (const [at, seconds, kind, security] of [
  ['greeting', 300, 'unavailable', 'none'],
  ['greeting', 300, 'unavailable', 'tls'],
  ['EHLO', 300, 'unavailable', 'none'],
  ['MAIL', 300, 'unavailable', 'none'],
  ['RCPT', 300, 'unavailable', 'none'],
  ['DATA', 120, 'unavailable', 'none'],
  ['message', 600, 'unknown', 'none'],
] as const) {
  test(`${at} (${security}) has ${seconds} s from its own beginning, and then the connection is cut (law 6, law 13)`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const smtp = await ScriptedSmtp.start(t, { EHLO: '250 relay.example' });
    const asked = new Promise<Socket | undefined>((resolve) => {
      smtp.script[at] = () => {
        resolve(smtp.sockets[0]);
        return 'hang';
      };
    });
    const sending = sendWith(smtpBackend(smtp.relay({ security })));
    const socket = await asked;
    assert.ok(socket);
    await rounds(); // Its answers to what came before are read.
    t.mock.timers.tick(seconds * 1000 - 1);
    await rounds();
    assert.equal(socket.closed, false);
    const closed = once(socket.resume(), 'close');
    t.mock.timers.tick(1);
    const [told = ''] = await sending;
    assert.match(told, new RegExp(`^${kind}: the relay .*: no answer within ${seconds} s$`));
    await closed;
  });
}

test('a relay that uses up each time limit of RFC 5321 gets the message once (law 13)', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const [minutes, almost] = [60_000, -1];
  const relay = await SlowRelay.start(t, {
    greeting: 5 * minutes + almost,
    mail: 5 * minutes + almost,
    rcpt: 5 * minutes + almost,
    data: 2 * minutes + almost,
    dot: 10 * minutes + almost,
  });
  relay.pipelining = false;
  relay.waits = (ms) => t.mock.timers.tick(ms);
  const three = [...recipients, 'c@example.org'];
  const server = { host: '127.0.0.1', port: relay.port, security: 'none' as const };
  const others = { ca: undefined, name: undefined, auth: undefined, connectionsMax: 1 };
  const backend = smtpBackend({ ...server, ...others });
  const sending = sendWith(backend, { recipients: three, bytes: 'Subject: slow\n\nx\n' });
  for (const line of await sending) assert.match(line, / 2\.0\.0 /);
  assert.deepEqual([...relay.copies], [['slow', 1]]);
});

async function rounds() {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

test('a relay at an IPv6 address is named with brackets', async (t) => {
  const smtp = await ScriptedSmtp.start(t, {});
  const backend = smtpBackend(smtp.relay({ host: '::1' })); // It listens on 127.0.0.1 only.
  const [told = ''] = await sendWith(backend, { recipients });
  assert.ok(told.includes(`the relay [::1]:${smtp.port}: `), told);
});
