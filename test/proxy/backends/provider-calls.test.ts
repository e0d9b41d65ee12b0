import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { thisMachine, type Machine } from '../../../src/host/machine.ts';
import type { HostPort } from '../../../src/host/net/connect-socket.ts';
import { limits } from '../../../src/limits.ts';
import {
  BackendBusyError,
  BackendUnavailableError,
  type Backend,
  type Result,
} from '../../../src/proxy/backends/backend.ts';
import { jmapBackend } from '../../../src/proxy/backends/jmap/jmap-backend.ts';
import { mailgunBackend } from '../../../src/proxy/backends/mailgun/mailgun-backend.ts';
import { ProviderClient } from '../../../src/proxy/backends/provider/provider-client.ts';
import { sesBackend } from '../../../src/proxy/backends/ses/ses-backend.ts';
import { closedPort } from '../../support/closed-port.ts';
import { deliverBy } from '../../support/deliver-by.ts';
import { lateAnswer } from '../../support/late-answer.ts';
import { ScriptedJmap } from '../../support/scripted-jmap.ts';
import { QUEUED, ScriptedMailgun } from '../../support/scripted-mailgun.ts';
import { ScriptedProvider } from '../../support/scripted-provider.ts';
import { ScriptedSes } from '../../support/scripted-ses.ts';

async function start(t: TestContext): Promise<{ mailgun: ScriptedMailgun; backend: Backend }> {
  const mailgun = await ScriptedMailgun.start(t);
  return { mailgun, backend: mailgunBackend(mailgun.account, { ca: mailgun.server.ca }) };
}

/** A client of a provider, and one call with a body of some pieces. */
function clientOf(provider: ScriptedProvider) {
  const { url, ca } = provider;
  const client = new ProviderClient('the provider', { url, ca }, thisMachine);
  const body = Array.from({ length: 64 }, () => Buffer.alloc(64 * 1024, 'x'));
  const post = async () =>
    client.call({ method: 'POST', path: '/send', body, length: 64 * 64 * 1024 });
  return { client, post };
}

test('a connection that breaks before the end of the request: nothing was sent (law 5, law 6)', async (t) => {
  const provider = await ScriptedProvider.start(t);
  provider.cutsBeforeBody = () => true;
  const { post } = clientOf(provider);
  await assert.rejects(post(), BackendUnavailableError);
});

test('a connection that breaks after the end of the request: nobody knows (law 6)', async (t) => {
  const provider = await ScriptedProvider.start(t);
  const { post } = clientOf(provider);
  provider.script = () => 'cut';
  await assert.rejects(post(), (error: Error) => {
    assert.ok(!(error instanceof BackendUnavailableError));
    assert.match(error.message, /^the provider: /);
    return true;
  });
  assert.equal(provider.requests.length, 1, 'it is not sent twice');
});

test('a client that is closed after the end of the request: nobody knows; before it, nothing was sent (law 6)', async (t) => {
  const provider = await ScriptedProvider.start(t);
  const { client, post } = clientOf(provider);
  const came = new Promise<void>((resolve) => {
    provider.script = () => {
      resolve();
      return 'hang';
    };
  });
  const posted = assert.rejects(post(), (error: Error) => {
    assert.ok(!(error instanceof BackendUnavailableError));
    return true;
  });
  await came;
  await client.close();
  await posted;
  await assert.rejects(post(), BackendUnavailableError);
});

test('a kept connection that breaks under a request is not tried again (law 6)', async (t) => {
  const provider = await ScriptedProvider.start(t);
  const { post } = clientOf(provider);
  provider.script = () => ({ body: {} });
  await post();
  provider.script = () => 'cut';
  await assert.rejects(post());
  assert.equal(provider.requests.length, 2);
  assert.equal(provider.connections.all, 1);
});

test('a kept connection that was closed meanwhile is not used, and the whole message goes over a new one', async (t) => {
  for (const world of [ScriptedSes, ScriptedMailgun, ScriptedJmap]) {
    const provider = await world.start(t);
    const sockets: Socket[] = [];
    const connect: Machine['connect'] = async (...given) => {
      const socket = await thisMachine.connect(...given);
      sockets.push(socket);
      return socket;
    };
    const backend = backendOf(provider, { ...thisMachine, connect });
    for (const recipient of ['a@example.org', 'b@example.org']) {
      const [result] = await deliverBy(backend, { recipients: [recipient] });
      assert.ok(result && 'status' in result, world.name);
      assert.equal(result.status, '2.0.0', result.reason);
      const closed = sockets.map(async (socket) => socket.closed || once(socket, 'close'));
      provider.server.closeIdle();
      await Promise.all(closed);
    }
    assert.equal(sockets.length, 2);
  }
});

function backendOf(
  provider: ScriptedSes | ScriptedMailgun | ScriptedJmap,
  machine: Machine,
): Backend {
  const around = { machine, ca: provider.server.ca };
  if (provider instanceof ScriptedSes) return sesBackend(provider.account, around);
  if (provider instanceof ScriptedJmap) return jmapBackend(provider.account, around);
  return mailgunBackend(provider.account, around);
}

test('no redirect is followed (law 5)', async (t) => {
  const { mailgun, backend } = await start(t);
  const other = await ScriptedProvider.start(t);
  mailgun.script = () => ({ status: 307, headers: { location: String(other.url) } });
  await assert.rejects(
    deliverBy(backend, { recipients: ['a@example.org'] }),
    BackendUnavailableError,
  );
  assert.deepEqual(other.requests, []);
});

test('an answer without end is not read to its end', async (t) => {
  const { mailgun, backend } = await start(t);
  mailgun.script = () => ({ body: Buffer.alloc(limits.providerAnswerBytes + 1, ' ') });
  const [result] = await deliverBy(backend, { recipients: ['a@example.org'] });
  assert.ok(result && 'unknown' in result, 'it may have been sent');
  assert.match(result.unknown, /exceeded max size/);
});

test('no more connections are open at once than the limit says, and they are used again', async (t) => {
  const { mailgun, backend } = await start(t);
  const { taken, answer, reply } = lateAnswer(QUEUED);
  mailgun.script = reply;
  const deliveries = Array.from({ length: 3 * limits.providerCalls }, async (_, number) =>
    deliverBy(backend, { recipients: [`r${number}@example.org`] }),
  );
  await taken;
  await assert.rejects(backend.reserve({ signal: AbortSignal.abort() }), BackendBusyError);
  answer();
  const results = (await Promise.all(deliveries)).flat();
  assert.equal(
    results.filter((result) => 'status' in result && result.status === '2.0.0').length,
    60,
  );
  assert.equal(mailgun.server.connections.most, limits.providerCalls);
  assert.equal(mailgun.server.connections.all, limits.providerCalls);
});

test('connections are opened by the machine alone, which tries all addresses of a name', async (t) => {
  const provider = await ScriptedProvider.start(t);
  provider.script = () => ({ body: {} });
  const opened: unknown[] = [];
  const machine = {
    ...thisMachine,
    connect: async (...given: Parameters<typeof thisMachine.connect>) => {
      const { reached, ...to } = given[0] as HostPort;
      assert.equal(typeof reached, 'function');
      opened.push(to);
      return thisMachine.connect(...given);
    },
  };
  const url = new URL(`https://localhost:${provider.port}/`);
  const client = new ProviderClient('the provider', { url, ca: provider.ca }, machine);
  assert.equal((await client.call({ method: 'GET' })).status, 200);
  assert.deepEqual(opened, [{ host: 'localhost', port: provider.port, passedOver: 0 }]);
  await client.close();
});

test('a provider that is away, or whose certificate is not trusted: nothing was sent (law 5)', async (t) => {
  const { mailgun } = await start(t);
  const distrusting = mailgunBackend(mailgun.account);
  const one = { recipients: ['a@example.org'] };
  await assert.rejects(deliverBy(distrusting, one), /self-signed certificate/);
  const url = new URL(`https://127.0.0.1:${await closedPort()}/`);
  await assert.rejects(
    deliverBy(mailgunBackend({ ...mailgun.account, url }), one),
    (error: Error) => {
      assert.ok(error instanceof BackendUnavailableError);
      assert.match(error.message, /ECONNREFUSED/);
      return true;
    },
  );
  assert.deepEqual(mailgun.messages, []);
});

test('Mailgun gets the recipients of the envelope, tracking off, and the message as a file', async (t) => {
  const { mailgun, backend } = await start(t);
  const bytes = Buffer.from('To: nobody@example.org\r\nBcc: hidden@example.org\r\n\r\ntext\r\n');
  const recipients = ['a@example.org', '"a,b"@bücher.example'];
  await deliverBy(backend, { recipients, bytes });
  assert.deepEqual(mailgun.messages, [
    {
      recipients: ['a@example.org', '"a,b"@xn--bcher-kva.example'],
      bytes,
      options: { 'o:tracking': 'no', 'o:tracking-clicks': 'no', 'o:tracking-opens': 'no' },
    },
  ]);
});

test('a message with the null sender goes out by Mailgun like any other: its envelope sender is its own (law 9)', async (t) => {
  const { mailgun, backend } = await start(t);
  const bytes = Buffer.from('From: Mailer-Daemon@host.example\r\n\r\nreport\r\n');
  for (const sender of ['sender@example.org', '']) {
    const results = await deliverBy(backend, { sender, recipients: ['a@example.org'], bytes });
    assert.deepEqual(statusesOf(results, ['a@example.org']), ['2.0.0']);
  }
  const [usual, report] = mailgun.messages;
  assert.deepEqual(report, usual);
});

test('the address that Mailgun finds invalid is found by halves, and nobody gets the message twice (law 6)', async (t) => {
  const { mailgun, backend } = await start(t);
  const recipients = Array.from({ length: 33 }, (_, number) => `r${number}@example.org`);
  mailgun.invalid = ['r5@example.org', 'r32@example.org'];
  const results = await deliverBy(backend, { recipients });
  assert.deepEqual(
    statusesOf(results, recipients),
    recipients.map((to) => (mailgun.invalid.includes(to) ? '5.1.3' : '2.0.0')),
  );
  const sent = mailgun.messages.flatMap((message) => message.recipients);
  assert.deepEqual(
    sent.toSorted(),
    recipients.filter((to) => !mailgun.invalid.includes(to)).toSorted(),
  );
  assert.ok(mailgun.server.requests.length < 20, String(mailgun.server.requests.length));
});

test('a thousand recipients go out in one call, one more in another; when that finds no answer, the rest are posted again', async (t) => {
  const { mailgun, backend } = await start(t);
  const recipients = Array.from({ length: 2001 }, (_, number) => `r${number}@example.org`);
  mailgun.script = () => (mailgun.messages.length === 2 ? 'cut' : QUEUED);
  const results = await deliverBy(backend, { recipients });
  assert.deepEqual(
    mailgun.messages.map((message) => message.recipients.length),
    [1000, 1000],
  );
  const given = statusesOf(results, recipients);
  assert.deepEqual(
    [given[0], given[999], given[1000], given[1999], given[2000]],
    ['2.0.0', '2.0.0', 'unknown', 'unknown', '4.5.3'],
  );
});

function statusesOf(results: readonly Result[], recipients: readonly string[]): string[] {
  return recipients.map((recipient) => {
    const result = results.find((each) => each.recipient === recipient);
    return result && 'status' in result ? result.status : 'unknown';
  });
}
