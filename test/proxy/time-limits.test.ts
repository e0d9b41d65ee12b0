import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import { postTimeMs } from '../../src/wire/post-time.ts';
import { clock } from '../support/clock.ts';
import { LocalProxy } from '../support/local-proxy.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { exchange, signedPost } from '../support/signed-post.ts';
import { wirePost, wireTo, type Wire } from '../support/wire-post.ts';

const MiB = 1024 * 1024;

/** A limit that is missing shows as a request that hangs. */
const hang = { timeout: 30_000 };

test('a post has 60 s, and a second more for every 32 KiB', () => {
  assert.equal(postTimeMs(0), 60_000);
  assert.equal(postTimeMs(32 * 1024), 61_000);
  assert.equal(postTimeMs(100 * MiB), 3_260_000);
});

/** Of a post after which the connection ends. */
const CLOSE = { connection: 'close' };

/** Sends the head of a post to the proxy, and waits until the proxy has begun with it. */
async function begin(t: TestContext, address: string, head: string): Promise<Wire> {
  const wire = wireTo(t, address);
  wire.socket.write(head.replace('\r\n', '\r\nexpect: 100-continue\r\n'));
  const [answer] = (await once(wire.socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 100 /);
  return wire;
}

test(
  'a body is taken as long as drain may send it, also longer than clocks may differ, and no longer',
  hang,
  async (t) => {
    const bytes = Buffer.alloc(16 * MiB, 'x\n');
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() });
    const local = await LocalProxy.start(t);
    const { head, body } = wirePost({ key: local.key, bytes, headers: CLOSE });
    const limit = postTimeMs(body.length);
    assert.ok(limit > limits.toleranceMs);

    const slow = await begin(t, local.address, head);
    t.mock.timers.tick(limit - 1);
    slow.socket.write(body);
    assert.match(await slow.said, /^HTTP\/1\.1 200 /m);
    assert.deepEqual(local.controlled.calls[0]?.bytes, bytes);

    const tooSlow = await begin(
      t,
      local.address,
      wirePost({ key: local.key, id: 'x', bytes }).head,
    );
    tooSlow.socket.write(body.subarray(0, 1000));
    t.mock.timers.tick(limit);
    assert.doesNotMatch(await tooSlow.said, /HTTP\/1\.1 [2-5]/, 'closed without an answer');
    assert.match(local.journal.join('\n'), /refused with 408: the body took too long/);
    assert.equal(local.controlled.calls.length, 1);
  },
);

test(
  'a request without a size, or with a wrong one, has the time of the largest body',
  hang,
  async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const local = await LocalProxy.start(t);
    const limit = postTimeMs(limits.messageBytes + limits.envelopeBytes);
    const { head } = wirePost({ key: local.key });
    for (const endless of [
      head.replace(/content-length: \d+/, 'transfer-encoding: chunked'),
      'GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n',
      'GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 900000000000\r\n\r\n',
    ]) {
      const { socket, said } = await begin(t, local.address, endless);
      t.mock.timers.tick(limit - 1);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(socket.closed, false);
      t.mock.timers.tick(1);
      await said;
    }
  },
);

test(
  'no other limit of the server cuts a slow body',
  { ...needs('faketime'), ...hang },
  async (t) => {
    const road = new Road(t);
    await road.proxy(['--backend', 'discard'], clock('+0 x60'));
    const proxyTime = async () => {
      const { headers } = await exchange(road.address, {});
      return Date.parse(headers['date'] ?? '') / 1000;
    };
    const timestamp = await proxyTime();
    const bytes = Buffer.alloc(16 * MiB, 'x\n');
    const { head, body } = wirePost({ key: road.key, timestamp, bytes, headers: CLOSE });
    const { socket, said } = await begin(t, road.address, head);
    // Node's own limit for a whole request is 300 s.
    while ((await proxyTime()) < timestamp + 320)
      await new Promise((resolve) => setTimeout(resolve, 50));
    socket.write(body);
    assert.match(await said, /^HTTP\/1\.1 200 /m);
  },
);

const timers = () => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;

test('a request that is answered has no limit any more', async (t) => {
  const local = await LocalProxy.start(t);
  const before = timers();
  await signedPost(local.address, { key: local.key });
  await exchange(local.address, {});
  assert.equal(timers(), before);
});
