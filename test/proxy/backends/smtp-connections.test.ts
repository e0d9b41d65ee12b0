import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'node:test';
import { limits } from '../../../src/limits.ts';
import { smtpBackend } from '../../../src/proxy/backends/smtp/smtp-backend.ts';
import { ScriptedSmtp } from '../../support/scripted-smtp.ts';
import { sendWith } from '../../support/send-with.ts';

const SENT = ['r@example.org 2.0.0 250 2.0.0 Ok: queued as 4711'];

/** A connection whose message was refused is idle once its RSET is answered, which nobody can see. */
const reset = async () => new Promise((resolve) => setTimeout(resolve, 250));

test('messages share a connection, refused ones too, and every hundredth is its last', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  smtp.script['RCPT'] = '550 5.1.1 no';
  await sendWith(backend);
  delete smtp.script['RCPT'];
  smtp.script['message'] = '554 5.7.1 spam';
  await reset();
  await sendWith(backend);
  delete smtp.script['message'];
  assert.equal(smtp.said('RSET').length, 1, 'after the end of a message nothing is left to reset');
  for (let sent = 2; sent < limits.smtpMessages; sent += 1) {
    assert.deepEqual(await sendWith(backend), SENT);
  }
  assert.deepEqual([smtp.sockets.length, smtp.said('QUIT').length], [1, 0]);
  assert.deepEqual(await sendWith(backend), SENT);
  assert.deepEqual([smtp.sockets.length, smtp.said('QUIT').length], [2, 1]);
});

test('a RSET that is refused ends the connection', async (t) => {
  const smtp = await ScriptedSmtp.start(t, { RCPT: '550 5.1.1 no', RSET: '502 what' });
  const backend = smtpBackend(smtp.relay());
  await sendWith(backend);
  await reset();
  delete smtp.script['RCPT'];
  assert.deepEqual(await sendWith(backend), SENT);
  assert.equal(smtp.sockets.length, 2);
});

test('many messages at once have at most 20 connections, in their order', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  const order: number[] = [];
  const sending = Array.from({ length: 100 }, async (_, number) => {
    assert.deepEqual(await sendWith(backend, { bytes: `${number}\n` }), SENT);
    order.push(number);
  });
  await Promise.all(sending);
  assert.equal(smtp.messages.length, 100);
  assert.equal(smtp.sockets.length, limits.smtpConnections);
  // Those that waited came after those that did not.
  const first = new Set(order.slice(0, limits.smtpConnections));
  assert.ok(
    [...first].every((number) => number < 2 * limits.smtpConnections),
    [...first].join(),
  );
});

test('a message that waits for a connection in vain was not begun; the connection is free again (law 13)', async (t) => {
  const smtp = await ScriptedSmtp.start(t, { MAIL: 'hang' });
  const backend = smtpBackend(smtp.relay({ connectionsMax: 3 }));
  const full = Array.from({ length: 3 }, async () => sendWith(backend));
  const waiting = new AbortController();
  const late = full.map(async () => sendWith(backend, { giveUp: waiting.signal }));
  while (smtp.said('MAIL').length < 3) await new Promise((resolve) => setImmediate(resolve));
  waiting.abort();
  for (const told of (await Promise.all(late)).flat()) {
    assert.equal(told, 'busy: no connection to the relay was free in time');
  }
  assert.deepEqual([smtp.said('MAIL').length, smtp.sockets.length], [3, 3]);
  for (const socket of smtp.sockets) socket.destroy();
  assert.ok((await Promise.all(full)).flat().every((line) => line.startsWith('unavailable: ')));
  delete smtp.script['MAIL'];
  const again = Array.from({ length: 10 }, async () => sendWith(backend));
  assert.deepEqual((await Promise.all(again)).flat(), Array(10).fill(SENT[0]));
  assert.equal(smtp.sockets.length, 6);
});

test('a delivery that gives up before its connection was opened leaves it to the next (law 13)', async (t) => {
  const smtp = await ScriptedSmtp.start(t, { greeting: 'hang' });
  const backend = smtpBackend(smtp.relay());
  const giveUp = new AbortController();
  const first = sendWith(backend, { giveUp: giveUp.signal });
  while (smtp.sockets.length < 1) await new Promise((resolve) => setImmediate(resolve));
  giveUp.abort();
  assert.match((await first).join(), /^busy: /);
  assert.match((await sendWith(backend, { giveUp: AbortSignal.abort() })).join(), /^busy: /);
  smtp.sockets[0]?.write('220 at last\r\n');
  while (smtp.said('EHLO').length < 1) await new Promise((resolve) => setImmediate(resolve));
  delete smtp.script['greeting'];
  assert.deepEqual(await sendWith(backend), SENT);
  assert.equal(smtp.sockets.length, 1);
});

test('a relay that takes no further connection is used over those it took, and is not down (law 5, law 13)', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  smtp.script['greeting'] = () =>
    smtp.sockets.length > 2 ? '421 4.7.0 too many connections' : '220 relay.example';
  const backend = smtpBackend(smtp.relay());
  assert.deepEqual(await sendWith(backend), SENT);
  const many = Array.from({ length: 30 }, async () => sendWith(backend));
  assert.deepEqual((await Promise.all(many)).flat(), Array(30).fill(SENT[0]));
});

test('connections that cannot be made take no place for good', async (t) => {
  const smtp = await ScriptedSmtp.start(t, { greeting: '554 no' });
  const backend = smtpBackend(smtp.relay());
  for (let tries = 0; tries <= limits.smtpConnections; tries += 1) {
    assert.match((await sendWith(backend)).join(), /^unavailable: /);
  }
  delete smtp.script['greeting'];
  assert.deepEqual(await sendWith(backend), SENT);
});

const TIMEOUT = '421 4.4.2 timeout exceeded\r\n';

test("a connection that died while it was idle is no message's trouble (law 5, law 6)", async (t) => {
  const deaths: Record<string, (smtp: ScriptedSmtp) => unknown> = {
    'closed before': async ({ sockets }) => closed(sockets[0]?.end()),
    'reset at this moment': ({ sockets }) => sockets[0]?.resetAndDestroy(),
    'with a 421 before': async ({ sockets }) => closed(sockets[0]?.end(TIMEOUT)),
    'with a 421 at this moment': ({ sockets }) => sockets[0]?.end(TIMEOUT),
    'cut at MAIL': (smtp) => (smtp.script['MAIL'] = whenFirst(smtp, 'cut')),
    'cut at RCPT': (smtp) => (smtp.script['RCPT'] = whenFirst(smtp, 'cut')),
    '421 at MAIL': (smtp) => (smtp.script['MAIL'] = whenFirst(smtp, '421 4.7.0 enough')),
    '421 at RCPT': (smtp) => (smtp.script['RCPT'] = whenFirst(smtp, '421 4.7.0 enough')),
  };
  for (const [death, die] of Object.entries(deaths)) {
    const smtp = await ScriptedSmtp.start(t);
    const backend = smtpBackend(smtp.relay());
    assert.deepEqual(await sendWith(backend), SENT);
    await die(smtp);
    assert.deepEqual(await sendWith(backend), SENT, death);
    assert.deepEqual([smtp.messages.length, smtp.sockets.length], [2, 2], death);
  }
});

test('a used connection that is cut after the end of a message is unknown all the same (law 6)', async (t) => {
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  await sendWith(backend);
  smtp.script['message'] = 'cut';
  assert.match((await sendWith(backend)).join(), /^unknown: /);
  assert.equal(smtp.sockets.length, 1);
});

test('a connection that nobody needs says QUIT after 30 s', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const smtp = await ScriptedSmtp.start(t);
  const backend = smtpBackend(smtp.relay());
  await sendWith(backend);
  t.mock.timers.tick(limits.smtpIdleMs - 1);
  await sendWith(backend);
  t.mock.timers.tick(limits.smtpIdleMs - 1);
  assert.equal(smtp.said('QUIT').length, 0);
  const [socket] = smtp.sockets;
  assert.ok(socket);
  const gone = closed(socket);
  t.mock.timers.tick(1);
  assert.deepEqual(await sendWith(backend), SENT, 'at this moment');
  await gone;
  assert.deepEqual([smtp.sockets.length, smtp.said('QUIT').length], [2, 1]);
  assert.equal(smtp.said('MAIL').length, 3, 'none after QUIT');
});

async function closed(socket?: Socket) {
  if (socket) await once(socket, 'close');
}

/** Answers so on the first connection. */
function whenFirst(smtp: ScriptedSmtp, answer: string) {
  return () => (smtp.sockets.length === 1 ? answer : '250 ok');
}
