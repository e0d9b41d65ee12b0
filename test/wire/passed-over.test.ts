import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { connectSocket, type Reached } from '../../src/host/net/connect-socket.ts';
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
    assert.match(otherAddress(connection) ?? '', /^127.0.0.1 because 127.0.0.2: \S+/);
  });
}

test("an address of the proxy's name refuses connections: another one is used, which is told", async (t) => {
  const proxy = await ScriptedProxy.start(t, 'a key', (post) => post.accept());
  const url = new URL(proxy.url.replace('127.0.0.1', 'localhost'));
  const connection = new Connection({ url, key: Buffer.from('a key') }, machine);
  t.after(() => connection.close());
  assert.equal((await attempt(connection, probe(machine), never)).kind, 'verdicts');
  const refused = `connect ECONNREFUSED 127.0.0.2:${url.port}`;
  assert.equal(otherAddress(connection), `127.0.0.1 because 127.0.0.2: ${refused}`);
});

test('a connection tells which address it reached, and which of the same family failed before', async (t) => {
  const { url } = await ScriptedProxy.start(t, 'a key', (post) => post.accept());
  const port = Number(new URL(url).port);
  const [here, beside, six] = [
    { address: '127.0.0.1', family: 4 },
    { address: '127.0.0.2', family: 4 },
    { address: '::1', family: 6 },
  ];
  const told: Reached[] = [];
  for (const all of [[here], [six, here], [beside, here]]) {
    const to = { host: 'localhost', port, reached: (reached: Reached) => void told.push(reached) };
    (await connectSocket(to, never, async () => all)).destroy();
  }
  const { address } = here;
  const refused: Reached['failed'] = [['127.0.0.2', `connect ECONNREFUSED 127.0.0.2:${port}`]];
  assert.deepEqual(told, [
    { address, failed: [], isFirst: true },
    { address, failed: [], isFirst: false },
    { address, failed: refused, isFirst: false },
  ]);
});

for (const [what, address, isFirst, isTold] of [
  ['the first takes the next connection', '.1', true, false],
  ['it takes the next one, because it is faster', '.2', false, true],
  ['it takes the next one, as the first of the name', '.2', true, false],
  ['a third one takes the next one, because it is faster', '.3', false, false],
] as const) {
  test(`the first address failed, and another one was used; ${what}: the other one is ${isTold ? 'still' : 'not'} told`, async (t) => {
    const proxy = await ScriptedProxy.start(t, 'a key', (post) => post.accept());
    const all: Reached[] = [
      { address: '.2', failed: [['.1', 'refused']], isFirst: false },
      { address, failed: [], isFirst },
    ];
    const connectThere: Machine['connect'] = async (to, signal) => {
      const reached = all.shift();
      if (reached && 'host' in to) to.reached?.(reached);
      return thisMachine.connect({ ...to, reached: undefined }, signal);
    };
    const here = { ...thisMachine, connect: connectThere };
    const url = new URL(proxy.url);
    const connection = new Connection({ url, key: Buffer.from('a key') }, here);
    t.after(() => connection.close());
    for (const told of [true, isTold]) {
      const post = { ...probe(here), fresh: true };
      assert.equal((await attempt(connection, post, never)).kind, 'verdicts');
      assert.equal(otherAddress(connection), told ? '.2 because .1: refused' : undefined);
    }
  });
}

/** The address that is used instead of another one, and why. */
function otherAddress({ pool: { used } }: Connection): string | undefined {
  const [failure] = used?.insteadOf ?? [];
  return failure && `${used?.reached?.address} because ${failure.join(': ')}`;
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
  const opening = addresses.opening(addresses.turn, undefined);
  for (let nth = 0; nth < 64; nth += 1) addresses.add(opening, 'no answer', 1000);
  assert.equal(addresses.count(1000), 1);
  addresses.add({ ...opening, turn: addresses.turn }, 'no answer', 2000);
  assert.equal(addresses.count(2000), 2);
  assert.equal(addresses.count(2000 + limits.passedOverMs), 0);
});

test('what a connection goes to in place of the addresses before it that failed, in their order', () => {
  const addresses = new PassedOver();
  const at = (address: string, refused?: string) =>
    addresses.opening(addresses.turn, {
      address,
      failed: refused === undefined ? [] : [[refused, 'refused']],
      isFirst: refused === undefined,
    });
  const before = (...where: Parameters<typeof at>) => at(...where).insteadOf.map(String);
  assert.deepEqual(before('.1'), []);
  assert.deepEqual(before('.2', '.1'), ['.1,refused']);
  addresses.add(at('.1'), 'silent', 1000);
  assert.deepEqual(before('.1', '.2'), []);
  assert.deepEqual(before('.3', '.2'), ['.1,silent', '.2,refused']);
  addresses.add(at('.2'), 'silent too', 1000);
  assert.deepEqual(before('.3'), ['.1,silent', '.2,silent too']);
  assert.deepEqual(before('.2'), ['.1,silent']);
  addresses.count(1000 + limits.passedOverMs);
  assert.deepEqual(before('.2'), []);
});
