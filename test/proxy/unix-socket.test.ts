import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { createTransport } from 'nodemailer';
import { gmail } from '../../src/client/gmail-transport.ts';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer, inCheckout, run, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';

/** A proxy that listens at the path; resolves when it does, or has ended. */
async function proxyAt(road: Road, listen: string, ledger = 'ledger.db'): Promise<Program> {
  const files = ['--ledger', join(road.folder, ledger), '--dir', road.delivered];
  const proxy = appengineMailer(road.t, ['proxy', '--listen', listen, ...files], {
    cwd: road.folder,
    env: { GMAIL_SECRET_KEY: road.key },
  });
  await Promise.race([proxy.says(/proxy listens on unix:/).catch(() => {}), proxy.ended]);
  return proxy;
}

function roadWithPath(t: TestContext): { road: Road; path: string } {
  const road = new Road(t);
  return { road, path: join(road.folder, 'proxy.sock') };
}

test('the proxy listens on a Unix socket that its group may use, and removes it when it stops', async (t) => {
  const { road, path } = roadWithPath(t);
  const proxy = await proxyAt(road, `unix:${path}`);
  assert.equal(statSync(path).mode & 0o777, 0o660);
  const asked = request({ socketPath: path, path: '/' }).end();
  const [response] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }];
  assert.equal(response.statusCode, 200);
  response.resume();
  assert.equal((await proxy.stop()).code, 0);
  assert.ok(!existsSync(path));
});

test('drain, check, gmail and the nodemailer transport use http+unix:, and never a web proxy for it', async (t) => {
  const { road, path } = roadWithPath(t);
  await proxyAt(road, `unix:${path}`);
  const nobody = 'http://127.0.0.1:1/';
  const env = {
    GMAIL_PROXY_URL: `http+unix:${path}`,
    GMAIL_SECRET_KEY: road.key,
    http_proxy: nobody,
    https_proxy: nobody,
  };
  handIn(road.spool, [{}]);
  const drained = await road.drain(['--once'], env).ended;
  assert.equal(drained.code, 0, drained.stderr);

  const message = 'From: s@example.com\nTo: r@example.org\n\nHello\n';
  const command = [inCheckout('dist/bin/gmail.js')];
  const sent = await run(t, process.execPath, command, { env, input: message });
  assert.equal(sent.code, 0, sent.stderr);

  const transport = createTransport(gmail({ secretKey: road.key, proxyUrl: env.GMAIL_PROXY_URL }));
  t.after(() => transport.close());
  assert.equal(await transport.verify(), true);
  await transport.sendMail({ from: 's@example.com', to: 'r@example.org', text: 'Hello' });
  assert.equal(road.deliveries().length, 3);

  const checking = appengineMailer(t, ['check', '--json', '--spool', road.spool], { env });
  const findings = (await checking.ended).stdout.toString().trim().split('\n');
  const told = findings.map((line) => JSON.parse(line) as { check: string; ok: boolean });
  for (const name of ['proxy', 'certificate', 'signature', 'clock']) {
    assert.equal(told.find(({ check }) => check === name)?.ok, true, findings.join('\n'));
  }
});

test('over a Unix socket the request is for / of localhost', async (t) => {
  const { road, path } = roadWithPath(t);
  const asked: (string | undefined)[] = [];
  const server = createServer(({ method, url, headers }, response) => {
    asked.push(method, url, headers.host);
    response.end();
  }).listen(path);
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  handIn(road.spool, [{}]);
  await road.drain(['--once'], { GMAIL_PROXY_URL: `http+unix:${path}` }).ended;
  assert.deepEqual(asked, ['POST', '/', 'localhost']);
});

test('the socket of a proxy that was killed is replaced; one in use, or a file, is left alone and named', async (t) => {
  const { road, path } = roadWithPath(t);
  const killed = await proxyAt(road, `unix:${path}`);
  await killed.stop('SIGKILL');
  assert.ok(existsSync(path));
  const proxy = await proxyAt(road, `unix:${path}`);
  assert.match(proxy.stderr, /proxy listens on unix:/);
  const other = await (await proxyAt(road, `unix:${path}`, 'other.db')).ended;
  assert.equal(other.code, 78);
  assert.match(other.stderr, /cannot listen on unix:.*another program listens on .*EADDRINUSE/);
  handIn(road.spool, [{}]);
  const { code } = await road.drain(['--once'], { GMAIL_PROXY_URL: `http+unix:${path}` }).ended;
  assert.equal(code, 0, 'the first one still answers');

  const file = join(road.folder, 'file');
  writeFileSync(file, 'mine');
  const refused = await (await proxyAt(road, `unix:${file}`, 'third.db')).ended;
  assert.equal(refused.code, 78);
  assert.match(refused.stderr, /is there and is not a socket/);
  assert.ok(existsSync(file));
});

test('a path that cannot be one is a mistake that is named, in --listen and in GMAIL_PROXY_URL', async (t) => {
  const road = new Road(t);
  const long = `/${'x'.repeat(107)}`;
  for (const [path, fault] of [
    ['proxy.sock', /begins with a \//],
    [long, /at most 107 bytes/],
  ] as const) {
    const proxy = await (await proxyAt(road, `unix:${path}`)).ended;
    assert.equal(proxy.code, 64);
    assert.match(proxy.stderr, fault);
    const drain = await road.drain([], { GMAIL_PROXY_URL: `http+unix:${path}` }).ended;
    assert.equal(drain.code, 78);
    assert.match(drain.stderr, fault);
  }
  for (const url of ['http+unix://host/run/x', 'http+unix:/run/x?y', 'http+unix:/run/%ff']) {
    const { code, stderr } = await road.drain([], { GMAIL_PROXY_URL: url }).ended;
    assert.equal(code, 78);
    assert.match(stderr, /names no Unix socket: .*http\+unix:\/run\/appengine-mailer-proxy\.sock/);
  }
});

test('a Unix socket that is not there is told with its path, and the mail waits (law 5)', async (t) => {
  const { road, path } = roadWithPath(t);
  handIn(road.spool, [{}]);
  const { code, stderr } = await road.drain(['--once'], { GMAIL_PROXY_URL: `http+unix:${path}` })
    .ended;
  assert.equal(code, 69);
  assert.ok(stderr.includes(`the proxy cannot be reached: connect ENOENT ${path}`), stderr);
});
