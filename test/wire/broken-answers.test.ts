import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { attempt } from '../../src/wire/attempt.ts';
import { Connection } from '../../src/wire/connection.ts';
import { clock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { greetedServer } from '../support/greeted-server.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const post = {
  id: 'an-id',
  envelope: { sender: '', recipients: ['a@example.org'] },
  bytes: [Buffer.from('x\n')],
  size: 2,
};

const key = Buffer.from('key');

async function network(t: TestContext, answer: (socket: Socket) => void): Promise<string> {
  const { url } = await greetedServer(t, key, answer);
  const connection = new Connection({ url, key });
  t.after(() => connection.close());
  const result = await attempt(connection, post, new AbortController().signal);
  assert.equal(result.kind, 'network', JSON.stringify(result));
  return result.kind === 'network' ? `${result.code} ${result.text}` : '';
}

test('no complete answer is told as trouble of the network, whatever came (law 5)', async (t) => {
  assert.match(
    await network(t, (socket) => socket.end('SSH-2.0-OpenSSH_9\r\n')),
    /HTTP\/1\.1 protocol/,
  );
  assert.match(
    await network(t, (socket) => socket.end('\0\x01\x02\xff\r\n\r\n')),
    /HTTP\/1\.1 protocol/,
  );
  assert.match(await network(t, (socket) => socket.end()), /^UND_ERR_SOCKET other side closed/);
  assert.match(await network(t, (socket) => socket.resetAndDestroy()), /^ECONNRESET/);

  const cut = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id":';
  assert.match(await network(t, (socket) => socket.end(cut)), /^UND_ERR_SOCKET other side closed/);
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n';
  assert.match(
    await network(t, (socket) => socket.end(chunked)),
    /^UND_ERR_SOCKET other side closed/,
  );
  assert.match(
    await network(t, (socket) => socket.end('HTTP/1.1 200 OK\r\nX: 1')),
    /^UND_ERR_SOCKET/,
  );
  const twice = 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx';
  assert.match(await network(t, (socket) => socket.end(twice)), /CONTENT_LENGTH_MISMATCH/);
});

test('an endless answer is not read: not its body, not its headers', async (t) => {
  let written = 0;
  const flood = (piece: string) => (socket: Socket) => {
    // After the client's end each write fails at once: going on would be a loop without an end.
    const pour = (failed?: Error | null) => {
      if (failed) return;
      written += piece.length;
      socket.write(piece, pour);
    };
    pour();
  };
  const body = (socket: Socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n');
    flood('x'.repeat(65_536))(socket);
  };
  assert.match(await network(t, body), /^UND_ERR_RES_EXCEEDED_MAX_SIZE/);
  assert.ok(written < 64 * 1024 * 1024, `${written} bytes`);
  const headers = (socket: Socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    flood(`X-More: ${'x'.repeat(1000)}\r\n`)(socket);
  };
  assert.match(await network(t, headers), /^UND_ERR_HEADERS_OVERFLOW/);
});

test(
  'an answer that never ends is given up after a minute, and the mail waits (law 5)',
  needs('faketime'),
  async (t) => {
    const roads = [new Road(t), new Road(t)] as const;
    const silent = await ScriptedProxy.start(t, roads[0].key, () => {});
    const dripping = await greetedServer(t, Buffer.from(roads[1].key), (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const drip = setInterval(() => socket.write('X: y\r\n'), 20);
      socket.on('close', () => clearInterval(drip));
    });
    for (const [at, url] of [silent.url, dripping.url.href].entries()) {
      const road = roads[at] ?? assert.fail();
      handIn(road.spool, [{}]);
      const env = { GMAIL_PROXY_URL: url, ...clock('+0 x40') };
      const { code, stderr } = await road.drain(['--once'], env).ended;
      assert.equal(code, 69);
      assert.match(stderr, /no answer within 60 s \(ETIMEDOUT\)/);
      assert.deepEqual(
        lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
        [['queued', 0]],
      );
    }
  },
);
