import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { peakBytes } from '../bench/memory.ts';
import { everyone } from '../support/controlled-deliverer.ts';
import { formPost } from '../support/form-post.ts';
import { LocalProxy } from '../support/local-proxy.ts';
import { Road } from '../support/road.ts';
import { encodePost, signedPost } from '../support/signed-post.ts';
import { wirePost } from '../support/wire-post.ts';

test('a body that is announced as too large is refused with 413 before it is sent', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const { head } = wirePost({ key: road.key });
  const socket = connect(Number(road.address.split(':')[1]), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write(head.replace(/content-length: \d+/, 'content-length: 200000000'));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 413 /);
  assert.match(answer.toString(), /connection: close/i);
});

/** Posts a body without announcing its size, and waits for the answer before its end. */
async function postUnsized(address: string, key: string, size: number): Promise<number> {
  const { headers } = encodePost({ key, headers: { 'appengine-mailer-key-hint': undefined } });
  const sent = request(`http://${address}/`, { method: 'POST', headers });
  const piece = Buffer.alloc(1024 * 1024);
  for (let rest = size; rest > 0; rest -= piece.length) {
    const more = sent.write(piece.subarray(0, rest));
    if (!more && rest > piece.length) await once(sent, 'drain');
  }
  const [{ statusCode = 0 }] = (await once(sent, 'response')) as [IncomingMessage];
  sent.destroy();
  return statusCode;
}

test('a body that turns out to be too large is 413, also without a key, and the proxy goes on (law 7)', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const most = limits.envelopeBytes + limits.messageBytes;
  assert.equal(await postUnsized(road.address, 'no key of the proxy', most + 1), 413);
  await proxy.says(/refused with 413: the body is larger than the limit/);
  assert.equal((await signedPost(road.address, { key: road.key })).status, 200);
  assert.doesNotMatch(proxy.stderr, /defect|attention/);
});

test('a message of exactly 100 MiB is taken, and is in memory once; one byte more is 413, signed', async (t) => {
  const road = new Road(t);
  const { key } = road;
  const proxy = await road.proxy(['--backend', 'discard']);
  const bytes = Buffer.alloc(100 * 1024 * 1024, 'x\n');
  assert.equal((await signedPost(road.address, { key, bytes })).status, 200);
  const peakMB = peakBytes(proxy.child.pid) / 1e6;
  assert.ok(peakMB < 250, `${peakMB} MB`); // About 75 MB before it came.
  const larger = await signedPost(road.address, {
    key,
    id: 'larger',
    bytes: Buffer.concat([bytes, Buffer.from('x')]),
  });
  assert.equal(larger.status, 413);
  assert.ok(larger.signedBy(key, 'larger'));
});

test('HTTP v1: a message above 100 MiB is 400, as all that is wrong with a mail', async (t) => {
  const road = new Road(t);
  const { key } = road;
  await road.proxy(['--backend', 'discard']);
  const tooLarge = await formPost(road.address, {
    key,
    msg: Buffer.alloc(limits.messageBytes + 1, 'x'),
  });
  const said = `the message is larger than ${limits.messageBytes} bytes`;
  assert.deepEqual([tooLarge.status, tooLarge.body.toString()], [400, said]);
});

test('a body that comes byte by byte, or not to its end, hinders nobody', async (t) => {
  const road = new Road(t);
  const { key } = road;
  const proxy = await road.proxy();
  const port = Number(road.address.split(':')[1]);
  const slow = connect(port, '127.0.0.1');
  t.after(() => slow.destroy());
  slow.setNoDelay(true);
  const { head, body } = wirePost({ key, id: 'slow', bytes: 'slow\n' });
  slow.write(head);

  // Clients that go away: with half a head, after the head, and with half a body.
  const { head: other, body: half } = wirePost({ key, id: 'aborted', bytes: 'aborted\n' });
  for (const sent of [other.slice(0, 30), other, other + half.subarray(0, 20).toString('latin1')]) {
    const aborted = connect(port, '127.0.0.1');
    aborted.write(sent, 'latin1', () => aborted.resetAndDestroy());
    await once(aborted, 'close');
  }
  for (const octet of body.subarray(0, -1)) {
    await new Promise((resolve) => slow.write(Buffer.of(octet), resolve));
  }
  assert.equal((await signedPost(road.address, { key, id: 'quick' })).status, 200);
  slow.write(body.subarray(-1));
  const [answer] = (await once(slow, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  assert.deepEqual(
    road
      .deliveries()
      .map(({ id }) => id)
      .toSorted(),
    ['quick', 'slow'],
  );
  assert.doesNotMatch(proxy.stderr, /defect|attention/);
});

test('garbage instead of HTTP, and headers without end, hinder nobody', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const port = Number(road.address.split(':')[1]);
  for (const sent of [
    '\0\x01\x02\r\n\r\n',
    'EHLO me\r\n',
    `POST / HTTP/1.1\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
  ]) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {}); // The proxy may close with some of it unread, which is a reset.
    socket.resume();
    socket.write(sent);
    await new Promise((resolve) => socket.once('close', resolve));
  }
  assert.equal((await signedPost(road.address, { key: road.key })).status, 200);
  assert.doesNotMatch(proxy.stderr, /defect|attention/);
});

test('a message that is still being sent counts as held after its post was answered (law 13)', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const local = await LocalProxy.start(t);
  const { key, address, controlled } = local;
  const relay = new EventEmitter();
  controlled.answer = async (delivery) => {
    await once(relay, 'answer');
    return everyone(delivery, '2.0.0');
  };
  const bytes = Buffer.alloc(limits.messageBytes, 'x\n');
  const fits = Math.floor(limits.requestsBytes / limits.messageBytes);
  const posts = Array.from({ length: fits }, async (_, id) =>
    signedPost(address, { key, id: `id-${id}`, bytes }),
  );
  while (controlled.calls.length < fits) await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(limits.answerMs);
  for (const post of posts) assert.match(String((await post).body), /"in_progress":true/);
  assert.equal((await signedPost(address, { key, id: 'more', bytes })).status, 503);

  relay.emit('answer');
  await controlled.deliverer.settled();
  const more = signedPost(address, { key, id: 'more', bytes });
  while (controlled.calls.length === fits) await new Promise((resolve) => setImmediate(resolve));
  relay.emit('answer');
  assert.equal((await more).status, 200);
});
