import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import { postTimeMs } from '../../src/wire/post-time.ts';
import { encodeFormPost, formPost } from '../support/form-post.ts';
import { LocalProxy } from '../support/local-proxy.ts';
import type { Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';
import { wirePost, wireTo } from '../support/wire-post.ts';

/** What is never answered, or not read to its end, shows as a wait without end. */
const hang = { timeout: 60_000 };

/** A post of HTTP v1 as it goes over the wire. */
function wireForm(key: string): { head: string; body: Buffer } {
  const body = encodeFormPost({ key });
  const type = 'content-type: application/x-www-form-urlencoded';
  return {
    head: `POST / HTTP/1.1\r\nhost: x\r\n${type}\r\ncontent-length: ${body.length}\r\n\r\n`,
    body,
  };
}

/** Posts of both versions, well-formed but for what a test changes. */
const wires = { v1: wireForm, v2: (key: string) => wirePost({ key }) };

/** Fails when the proxy does not serve others, found a defect, or needs far too much memory. */
async function serves(road: Road, proxy: Program): Promise<void> {
  assert.equal((await signedPost(road.address, { key: road.key })).status, 200);
  assert.equal((await formPost(road.address, { key: road.key })).status, 204);
  assert.doesNotMatch(proxy.stderr, /defect|attention/);
  const status = readFileSync(`/proc/${proxy.child.pid}/status`, 'utf8');
  const peakKiB = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]);
  assert.ok(peakKiB < 700 * 1024, `${peakKiB} KiB`);
}

/** Sends pieces, and waits until the proxy closes the connection. */
async function raw(t: TestContext, road: Road, ...sent: (string | Buffer)[]): Promise<string> {
  const { socket, said } = wireTo(t, road.address);
  for (const piece of sent) socket.write(piece);
  return said;
}

for (const [version, wire] of Object.entries(wires)) {
  test(
    `${version}: a body that is cut short, or announced as too large, is refused or dropped`,
    hang,
    async (t) => {
      const road = new Road(t);
      const proxy = await road.proxy(['--backend', 'discard']);
      const { head, body } = wire(road.key);
      const truncated = wireTo(t, road.address);
      truncated.socket.write(head);
      truncated.socket.end(body.subarray(0, -1));
      assert.doesNotMatch(await truncated.said, /^HTTP\/1\.1 [23]/);
      const { length } = body;
      const wrongLengths: [length: string, answer: RegExp][] = [
        [String(length - 1), /^HTTP\/1\.1 40[01] /], // Neither the signature nor what follows is right.
        ['-1', /^HTTP\/1\.1 400 /],
        ['1e3', /^HTTP\/1\.1 400 /],
        [`${length}\r\ncontent-length: ${length + 1}`, /^HTTP\/1\.1 400 /],
        [`${length}\r\ntransfer-encoding: chunked`, /^HTTP\/1\.1 400 /],
        ['99999999999999999999999', /^HTTP\/1\.1 4(?:00|13) /],
        [String(limits.messageBytes + limits.envelopeBytes + 1), /^HTTP\/1\.1 413 /],
      ];
      for (const [announced, answer] of wrongLengths) {
        const { socket, said } = wireTo(t, road.address);
        socket.write(head.replace(/content-length: \d+/, `content-length: ${announced}`));
        socket.write(body);
        const [first] = (await once(socket, 'data')) as [Buffer];
        socket.end();
        await said;
        assert.match(first.toString(), answer, announced);
      }
      await serves(road, proxy);
    },
  );

  test(
    `${version}: what follows a good post on its connection does not change its answer`,
    hang,
    async (t) => {
      const road = new Road(t);
      const proxy = await road.proxy();
      const { head, body } = wire(road.key);
      const good = version === 'v1' ? '204' : '200';
      for (const garbage of ['\0\xff\r\n\r\n', 'GARBAGE / HTTP/1.1\r\n\r\n', 'x'.repeat(100_000)]) {
        const said = await raw(
          t,
          road,
          Buffer.concat([Buffer.from(head), body, Buffer.from(garbage)]),
        );
        assert.match(said, new RegExp(`^HTTP/1\\.1 ${good} `), garbage.slice(0, 20));
      }
      const twice = await raw(
        t,
        road,
        head,
        body,
        head.replace('\r\n', '\r\nconnection: close\r\n'),
        body,
      );
      assert.equal(twice.match(new RegExp(`^HTTP/1\\.1 ${good} `, 'gm'))?.length, 2);
      await serves(road, proxy);
    },
  );

  test(
    `${version}: a client that is slow, an octet every 10 s, is cut off and hinders nobody`,
    hang,
    async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] });
      const local = await LocalProxy.start(t);
      const { head, body } = wire(local.key);
      const { socket, said } = wireTo(t, local.address);
      socket.setNoDelay(true);
      socket.write(head.replace('\r\n', '\r\nexpect: 100-continue\r\n'));
      await once(socket, 'data');
      const limit = postTimeMs(body.length);
      for (let at = 0; at * 10_000 < limit; at += 1) {
        assert.equal(socket.closed, false);
        socket.write(body.subarray(at, at + 1));
        t.mock.timers.tick(10_000);
      }
      assert.doesNotMatch(await said, /HTTP\/1\.1 [23]/);
      assert.match(local.journal.join('\n'), /refused with 408/);
      assert.equal(local.controlled.calls.length, 0);
      t.mock.timers.reset();
      const answer = await formPost(local.address, {
        key: local.key,
        headers: { connection: 'close' },
      });
      assert.equal(answer.status, 204);
    },
  );

  test(`${version}: many or large HTTP headers, and invalid chunks, are 4xx`, hang, async (t) => {
    const road = new Road(t);
    const proxy = await road.proxy();
    const { head } = wire(road.key);
    const chunked = head.replace(/content-length: \d+/, 'transfer-encoding: chunked');
    const bombs: [sent: string | Buffer, status: number][] = [
      [head.replace('\r\n', `\r\nx: ${'y'.repeat(20_000)}\r\n`), 431],
      [head.replace('\r\n', `\r\n${'x: y\r\n'.repeat(10_000)}`), 431],
      [head.replace('POST / ', `POST /${'x'.repeat(20_000)} `), 431],
      [head.replace('\r\n', '\r\nno colon\r\n'), 400],
      [head.replace('\r\n', '\r\nx: a\rb\r\n'), 400],
      [head.replace('\r\n', '\r\nx: a\0b\r\n'), 400],
      [head.replace('host: x\r\n', ''), 400],
      [head.replace('POST ', 'POSTS '), 405],
      [`${chunked}zz\r\n`, 400],
      [`${chunked}ffffffffffffffffff\r\n`, 400],
      [`${chunked}1;${'x'.repeat(100_000)}\r\n`, 413],
    ];
    for (const [sent, status] of bombs) {
      const { socket, said } = wireTo(t, road.address);
      socket.write(sent);
      assert.match(await said, new RegExp(`^HTTP/1\\.1 ${status} `), sent.toString().slice(0, 80));
    }
    await serves(road, proxy);
  });
}
