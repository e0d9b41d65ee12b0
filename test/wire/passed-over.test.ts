import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { connectSocket } from '../../src/host/net/connect-socket.ts';
import { PassedOver } from '../../src/host/net/passed-over.ts';
import { thisMachine, type Machine } from '../../src/host/machine.ts';
import { limits } from '../../src/limits.ts';
import { attempt } from '../../src/wire/attempt.ts';
import { Connection } from '../../src/wire/connection.ts';
import { probe } from '../../src/wire/probe.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const never = new AbortController().signal;

/** A server on another address of this machine, at the port of the proxy, that does as the test says. */
async function serverBeside(t: TestContext, url: string, answer: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    answer(socket);
  });
  server.listen(Number(new URL(url).port), '127.0.0.2');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

/** A name that has the bad address first. */
const machine: Machine = {
  ...thisMachine,
  connect: async (to, signal) =>
    connectSocket(to, signal, async () => [
      { address: '127.0.0.2', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]),
};

for (const [what, answer] of [
  ['answers garbage', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi')],
  ['closes each connection', (socket) => socket.destroy()],
] as const satisfies [string, (socket: Socket) => void][]) {
  test(`an address of the proxy's name accepts and ${what}: the next attempt goes to another address`, async (t) => {
    const proxy = await ScriptedProxy.start(t, 'a key', (post) => post.accept());
    await serverBeside(t, proxy.url, answer);
    const url = new URL(proxy.url.replace('127.0.0.1', 'localhost'));
    const connection = new Connection({ url, key: Buffer.from('a key') }, machine);
    t.after(() => connection.close());
    assert.notEqual((await attempt(connection, probe(machine), never)).kind, 'verdicts');
    assert.equal((await attempt(connection, probe(machine), never)).kind, 'verdicts');
    assert.equal((await attempt(connection, probe(machine), never)).kind, 'verdicts');
  });
}

test('at one address of a name a proxy answers that it takes no mail now: connections to it are not used again, and the next post goes to another address', async (t) => {
  const proxy = await ScriptedProxy.start(t, 'a key', (post) => post.accept());
  const broken = await ScriptedProxy.start(t, 'a key', (post) =>
    post.signed(503, Buffer.from('the ledger is away')),
  );
  await serverBeside(t, proxy.url, (socket) => {
    const there = connect(Number(new URL(broken.url).port), '127.0.0.1');
    there.on('error', () => {});
    socket.pipe(there).pipe(socket);
  });
  const url = new URL(proxy.url.replace('127.0.0.1', 'localhost'));
  const connection = new Connection({ url, key: Buffer.from('a key') }, machine);
  t.after(() => connection.close());
  assert.equal((await attempt(connection, probe(machine), never)).kind, 'http');
  assert.equal((await attempt(connection, probe(machine), never)).kind, 'verdicts');
  assert.equal((await attempt(connection, probe(machine), never)).kind, 'verdicts');
  assert.equal(broken.posts.length, 1);
});

test('of connections that were opened together one passes its address over, and the best address is the first again later', () => {
  const addresses = new PassedOver();
  const { turn } = addresses;
  for (let nth = 0; nth < 64; nth += 1) addresses.add(turn, 1000);
  assert.equal(addresses.count(1000), 1);
  addresses.add(addresses.turn, 2000);
  assert.equal(addresses.count(2000), 2);
  assert.equal(addresses.count(2000 + limits.passedOverMs), 0);
});
