import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';

/** A port that is free now; something else may take it before it is used, which nothing here did yet. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Sockets that are held as systemd holds them; the proxy starts with the first connection. */
async function activated(t: TestContext, road: Road, args: string[] = []) {
  const [port, path] = [await freePort(), join(road.folder, 'proxy.sock')];
  const holder: Program = start(
    t,
    '/usr/bin/systemd-socket-activate',
    [
      '-l',
      `127.0.0.1:${port}`,
      '-l',
      path,
      '-E',
      'GMAIL_SECRET_KEY',
      process.execPath,
      inCheckout('dist/bin/appengine-mailer.js'),
      'proxy',
      '--ledger',
      join(road.folder, 'ledger.db'),
      '--dir',
      road.delivered,
      ...args,
    ],
    { env: { GMAIL_SECRET_KEY: road.key } },
  );
  await holder.says(/Listening on .*proxy\.sock/);
  return { holder, port, path };
}

test(
  'the proxy listens on all sockets that systemd hands over, and nowhere else',
  needs('systemd'),
  async (t) => {
    const road = new Road(t);
    const { holder, port, path } = await activated(t, road);
    handIn(road.spool, [{}]);
    // The connection waits until the proxy has started.
    const drain = await road.drain(['--once'], { GMAIL_PROXY_URL: `http+unix:${path}` }).ended;
    assert.equal(drain.code, 0, drain.stderr);
    const line = new RegExp(`proxy listens on 127\\.0\\.0\\.1:${port} and unix:${path}, backend`);
    await holder.says(line);
    handIn(road.spool, [{}]);
    const other = await road.drain(['--once'], { GMAIL_PROXY_URL: `http://127.0.0.1:${port}/` })
      .ended;
    assert.equal(other.code, 0, other.stderr);
    assert.equal(road.deliveries().length, 2);
    assert.equal((await holder.stop()).code, 0);
  },
);

test(
  'an address of --listen that systemd holds is not opened again; another one is, and that is said',
  needs('systemd'),
  async (t) => {
    const road = new Road(t);
    const wanted = await freePort();
    const besides = await activated(t, road, ['--listen', `127.0.0.1:${wanted}`]);
    connect(besides.path)
      .on('error', () => {})
      .end();
    await besides.holder.says(
      new RegExp(
        `listens on 127\\.0\\.0\\.1:${besides.port} and unix:\\S+ and 127\\.0\\.0\\.1:${wanted},`,
      ),
    );
    await besides.holder.says(
      new RegExp(
        `attention: systemd holds 127\\.0\\.0\\.1:${besides.port} .*systemctl restart appengine-mailer-proxy\\.socket`,
      ),
    );
    assert.equal((await besides.holder.stop()).code, 0);

    const same = new Road(t);
    const held = await activated(t, same, ['--listen', `unix:${join(same.folder, 'proxy.sock')}`]);
    connect(held.path)
      .on('error', () => {})
      .end();
    await held.holder.says(
      new RegExp(`listens on 127\\.0\\.0\\.1:${held.port} and unix:\\S+, backend`),
    );
    assert.doesNotMatch((await held.holder.stop()).stderr, /attention/);
  },
);

test('sockets of another process are left alone', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy([], { LISTEN_PID: '1', LISTEN_FDS: '1' });
  assert.match(proxy.stderr, /listens on 127\.0\.0\.1:\d+, /);
});
