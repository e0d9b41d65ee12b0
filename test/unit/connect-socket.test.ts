import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectError } from '../../src/host/net/connect-error.ts';
import { connectSocket, type Lookup } from '../../src/host/net/connect-socket.ts';
import { limits } from '../../src/limits.ts';

const never = new AbortController().signal;

/** A resolver that does not answer. */
const endless: Lookup = async () => new Promise(() => {});

/** A name with these addresses. */
const names =
  (...addresses: string[]): Lookup =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

test('an address that refuses is followed by the next at once, and the first that connects is taken', async (t) => {
  const port = await listening(t, '127.0.0.9');
  const before = performance.now();
  const addresses = names('127.0.0.2', '::1', '127.0.0.3', '127.0.0.4', '127.0.0.9');
  const socket = await connectSocket({ host: 'a.example', port }, never, addresses);
  assert.equal(socket.remoteAddress, '127.0.0.9');
  assert.ok(performance.now() - before < 4 * limits.attemptDelayMs);
  socket.destroy();
});

test('where all addresses fail, each is named with its cause, the families by turns', async (t) => {
  const port = await listening(t, '127.0.0.9', 'and close');
  const addresses = names('127.0.0.2', '127.0.0.3', '127.0.0.4', '::1', '::1');
  await assert.rejects(connectSocket({ host: 'a.example', port }, never, addresses), (error) => {
    const { code, message } = error as ConnectError;
    assert.equal(code, 'ECONNREFUSED');
    const tried = [...message.matchAll(/E[A-Z]+ (\S+):\d+/g)].map(([, address]) => address);
    assert.deepEqual(tried, ['127.0.0.2', '::1', '127.0.0.3', '::1', '127.0.0.4']);
    return true;
  });
});

test('an address that is slow goes on while others fail, and is taken when it answers after all', async (t) => {
  // Its first SYN is lost, since the queue of its server is full; TCP sends it again after a second.
  const slow = await fullServer(t, '127.0.0.2');
  const addresses = names('127.0.0.2', '127.0.0.3');
  const connecting = connectSocket({ host: 'a.example', port: slow.port }, never, addresses);
  await sleep(2 * limits.attemptDelayMs);
  slow.answer();
  const socket = await connecting;
  assert.equal(socket.remoteAddress, '127.0.0.2');
  socket.destroy();
});

test('an address that does not answer is passed by, and not left behind', async (t) => {
  const slow = await fullServer(t, '127.0.0.2');
  const server = createServer().listen(slow.port, '127.0.0.3');
  await once(server, 'listening');
  const before = performance.now();
  const addresses = names('127.0.0.2', '127.0.0.3');
  const socket = await connectSocket({ host: 'a.example', port: slow.port }, never, addresses);
  assert.equal(socket.remoteAddress, '127.0.0.3');
  assert.ok(performance.now() - before >= limits.attemptDelayMs - 5);
  assert.ok(!process.getActiveResourcesInfo().includes('TCPConnectWrap'), 'the loser is closed');
  socket.destroy();
  server.close();
});

test('it is given up at once while a name is looked up, and while nothing answers', async (t) => {
  const giveUp = new AbortController();
  const looking = connectSocket({ host: 'a.example', port: 1 }, giveUp.signal, endless);
  const slow = await fullServer(t, '127.0.0.2');
  const to = { host: 'a.example', port: slow.port };
  const connecting = connectSocket(to, giveUp.signal, names('127.0.0.2', '127.0.0.3'));
  const ended = Promise.all([
    assert.rejects(looking, /enough: looking up the name a\.example$/),
    assert.rejects(
      connecting,
      /enough: .*ECONNREFUSED 127\.0\.0\.3:\d+; 127\.0\.0\.2:\d+ does not answer$/,
    ),
  ]);
  await sleep(2 * limits.attemptDelayMs);
  giveUp.abort(new Error('enough'));
  await ended;
  await assert.rejects(connectSocket(to, giveUp.signal), /enough/);
});

test('the time limit holds in every stage, and says what was waited for', async (t) => {
  const slow = await fullServer(t, '127.0.0.2');
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const all = [
    connectSocket({ host: 'a.example', port: 1 }, never, endless),
    connectSocket({ host: '127.0.0.2', port: slow.port }, never),
  ].map(async (each) =>
    each.then(
      () => 'connected',
      (error: ConnectError) => error,
    ),
  );
  await new Promise(setImmediate);
  t.mock.timers.tick(limits.connectMs);
  const [looking, connecting] = (await Promise.all(all)) as ConnectError[];
  assert.match(String(looking), /no connection within 20 s: looking up the name a\.example/);
  assert.match(String(connecting), /no connection within 20 s: 127\.0\.0\.2:\d+ does not answer/);
  assert.deepEqual([looking?.code, connecting?.code], ['ETIMEDOUT', 'ETIMEDOUT']);
});

test('a name that is not known has its code, and each is asked for once at a time', async () => {
  const several = Array.from({ length: 3 }, async () =>
    connectSocket({ host: 'a.invalid', port: 1 }, never).catch((error: unknown) => error),
  );
  const errors = (await Promise.all(several)) as NodeJS.ErrnoException[];
  assert.match(errors[0]?.code ?? '', /ENOTFOUND|EAI_AGAIN/);
  assert.equal(new Set(errors).size, 1, 'the answer is shared');
});

/** A server on an address of this machine; returns its port, which nothing else has on any address. */
async function listening(t: TestContext, host: string, close?: 'and close'): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  if (close) server.close();
  else t.after(() => server.close());
  return port;
}

/** A server whose queue of connections is full, so that it answers no SYN until it may. */
async function fullServer(
  t: TestContext,
  host: string,
): Promise<{ port: number; answer: () => void }> {
  const script = `const server = require('net').createServer(() => {});
    server.listen({ port: 0, host: '${host}', backlog: 1 }, () => {
      process.stdout.write(server.address().port + '\\n', () => process.kill(process.pid, 'SIGSTOP'));
    })`;
  const child: ChildProcess = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const fillers: Socket[] = [];
  t.after(() => {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
  });
  const [line] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [
    Buffer,
  ];
  const port = Number(String(line));
  // The queue takes one more than its backlog.
  for (let count = 0; count < 2; count += 1) {
    const socket = connect(port, host);
    socket.on('error', () => {});
    fillers.push(socket);
    await once(socket, 'connect');
  }
  return { port, answer: () => child.kill('SIGCONT') };
}
