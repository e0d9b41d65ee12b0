import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { Road } from '../support/road.ts';
import { everyone } from '../support/controlled-deliverer.ts';
import { LocalProxy } from '../support/local-proxy.ts';
import { encodePost, type SignedPost } from '../support/signed-post.ts';
import { wirePost, wireTo } from '../support/wire-post.ts';

/** Opens a connection and writes the head and a part of the body of a post. */
async function half(
  t: TestContext,
  address: string,
  post: SignedPost,
): Promise<{ socket: Socket; rest: Buffer }> {
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1');
  t.after(() => socket.destroy());
  const { head, body } = wirePost(post);
  await new Promise((resolve) =>
    socket.write(head + body.subarray(0, 10).toString('latin1'), 'latin1', resolve),
  );
  return { socket, rest: body.subarray(10) };
}

/** Waits until nobody listens there any more: the proxy has begun to stop. */
async function closed(address: string): Promise<void> {
  for (;;) {
    const socket = connect(Number(address.split(':')[1]), '127.0.0.1');
    const refused = await Promise.race([
      once(socket, 'connect').then(() => false),
      once(socket, 'error').then(() => true),
    ]).catch(() => true);
    socket.destroy();
    if (refused) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function answer(socket: Socket): Promise<string> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  await once(socket, 'close');
  return Buffer.concat(pieces).toString();
}

test('after SIGTERM posts that were taken are finished, later ones are answered 503, and the exit code is 0 (law 7)', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const taken = await half(t, road.address, { key: road.key, id: 'taken' });
  // A head that is not complete is a request that was not taken yet.
  const late = connect(Number(road.address.split(':')[1]), '127.0.0.1');
  t.after(() => late.destroy());
  const { headers, body } = encodePost({ key: road.key, id: 'late' });
  await new Promise((resolve) => late.write('POST / HTTP/1.1\r\nhost: x\r\n', resolve));
  const idle = connect(Number(road.address.split(':')[1]), '127.0.0.1');
  t.after(() => idle.destroy());
  idle.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(idle, 'data');

  proxy.child.kill('SIGTERM');
  await closed(road.address);
  if (!idle.closed) await once(idle.resume(), 'close'); // An idle connection is not waited for.

  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const refused = answer(late);
  late.write(`content-length: ${body.length}\r\n${lines.join('')}\r\n`);
  late.write(body);
  assert.match(await refused, /^HTTP\/1\.1 503 [^]*retry-after: 10\r\n[^]*stopping/i);

  const sent = answer(taken.socket);
  taken.socket.write(taken.rest);
  assert.match(await sent, /^HTTP\/1\.1 200 [^]*connection: close[^]*"2\.0\.0"/i);
  const { code, stderr } = await proxy.ended;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /proxy on \S+ stopped/);
  assert.deepEqual(
    road.deliveries().map(({ id }) => id),
    ['taken'],
  );
});

test('an idle proxy ends at once', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const before = performance.now();
  assert.equal((await proxy.stop()).code, 0);
  assert.ok(performance.now() - before < 10_000);
});

test('clients and backends that hang are waited for 30 s together, not each (law 7)', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const local = await LocalProxy.start(t);
  const backend = new EventEmitter();
  local.controlled.answer = async (delivery) => {
    backend.emit('asked');
    await once(backend, 'answer');
    return everyone(delivery, '2.0.0');
  };
  const asked = once(backend, 'asked');
  const { head, body } = wirePost({ key: local.key });
  const { socket, said } = wireTo(t, local.address);
  socket.write(head);
  socket.write(body);
  await asked;

  let stopped = false;
  const stopping = local.server.stop().then(() => (stopped = true));
  t.mock.timers.tick(29_999);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(stopped, false);
  t.mock.timers.tick(1);
  await stopping;
  await said;
  backend.emit('answer');
});
