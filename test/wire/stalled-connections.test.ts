import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { certificate } from '../support/certificate.ts';
import { clock } from '../support/clock.ts';
import { connectProxy } from '../support/connect-proxy.ts';
import { Forwarder } from '../support/forwarder.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer } from '../support/program.ts';
import { rawServer } from '../support/raw-server.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test(
  'an https_proxy that never answers CONNECT: drain says so within the time limit, and the mail waits (law 5)',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const { url, connections } = await rawServer(t, () => {});
    const env = { GMAIL_PROXY_URL: 'https://mail.example.org/', https_proxy: url.href };
    const drain = road.drain([], { ...env, ...clock('+0 x20') });
    await drain.says(
      /is down: the server of https_proxy cannot be used: no connection within 20 s: 127\.0\.0\.1:\d+ accepts the connection and does not answer CONNECT/,
    );
    await drain.says(/attention: .*https_proxy.*no_proxy names hosts/);
    assert.equal(connections.length, 1);
    // The attempt was not left behind: the other side sees it closed.
    await gone(connections[0]);
    await drain.says(/try 2 failed/);
    const [waiting] = lookInto(road.spool).messages;
    assert.deepEqual([waiting?.state, waiting?.attempts], ['queued', 0]);
    const check = appengineMailer(t, ['check', '--spool', road.spool], {
      env: { ...env, GMAIL_SECRET_KEY: road.key, ...clock('+0 x20') },
    });
    const { stdout } = await check.ended;
    assert.match(stdout.toString(), /https_proxy cannot be used.*does not answer CONNECT/);
  },
);

test('SIGTERM ends a drain whose https_proxy does not answer at once, and the mail stays (law 7)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const asked = new EventEmitter();
  const isAsked = once(asked, 'asked');
  const { url } = await rawServer(t, () => asked.emit('asked'));
  const drain = road.drain([], {
    GMAIL_PROXY_URL: 'https://mail.example.org/',
    https_proxy: url.href,
  });
  await isAsked;
  const before = performance.now();
  const { code, stderr } = await drain.stop();
  assert.equal(code, 0, stderr);
  assert.ok(performance.now() - before < limits.connectMs / 2, stderr);
  const [waiting] = lookInto(road.spool).messages;
  assert.deepEqual([waiting?.state, waiting?.attempts], ['queued', 0]);
});

test(
  'a server that accepts connections and never speaks TLS cannot be reached, within the time limit (law 5)',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const { url, connections } = await rawServer(t, () => {});
    const env = { GMAIL_PROXY_URL: `https://127.0.0.1:${url.port}/`, ...clock('+0 x20') };
    const drain = road.drain([], env);
    await drain.says(
      /is down: the proxy cannot be reached: no connection within 20 s: 127\.0\.0\.1 accepts the connection and does not answer in TLS/,
    );
    await gone(connections[0]);
    assert.equal((await drain.stop()).code, 0);
  },
);

test(
  'a server that accepts connections and never answers is said to be down, and that it gave no answer (law 5)',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const { url } = await rawServer(t, () => {});
    const drain = road.drain([], { GMAIL_PROXY_URL: url.href, ...clock('+0 x20') });
    await drain.says(/is down: the proxy cannot be reached: no answer within 60 s/);
    assert.equal((await drain.stop()).code, 0);
  },
);

test('an https_proxy that refuses CONNECT is named with its answer; its user and password are told to it (law 10)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  let asked = '';
  const { url } = await rawServer(t, (socket, request) => {
    asked = request;
    socket.end('HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n');
  });
  const https_proxy = `http://user:p%40ss@127.0.0.1:${url.port}/`;
  const env = { GMAIL_PROXY_URL: 'https://mail.example.org/', https_proxy };
  const { code, stderr } = await road.drain(['--once'], env).ended;
  assert.equal(code, 69);
  assert.match(
    stderr,
    /https_proxy lets nothing through: it answered 407 Who are you to CONNECT mail\.example\.org:443/,
  );
  assert.doesNotMatch(stderr, /p@ss|p%40ss/);
  assert.match(asked, /^CONNECT mail\.example\.org:443 HTTP\/1\.1\r\n/);
  assert.ok(asked.includes(`\r\nproxy-authorization: Basic ${btoa('user:p@ss')}\r\n`), asked);

  const other = { GMAIL_PROXY_URL: env.GMAIL_PROXY_URL, ALL_PROXY: https_proxy };
  const byAll = await road.drain(['--once'], other).ended;
  assert.match(byAll.stderr, /the server of ALL_PROXY lets nothing through: it answered 407/);
  assert.match(byAll.stderr, /user and password in ALL_PROXY/);
  assert.doesNotMatch(byAll.stderr, /https_proxy/);

  const bad = await road.drain(['--once'], { ...env, https_proxy: 'socks5://user:p@ss' }).ended;
  assert.equal(bad.code, 78);
  assert.match(bad.stderr, /https_proxy is not an http\(s\) URL/);
  assert.doesNotMatch(bad.stderr, /p@ss/);
});

test(
  'an https_proxy that is itself reached by TLS: its certificate and that of the proxy are verified',
  needs('openssl'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const { key, cert, file } = await certificate(t, road.folder, 'mail.example.org');
    const inner = await Forwarder.open(t, proxy.url, { key, cert });
    const tunnel = await connectProxy(t, inner.port);
    const outer = await Forwarder.open(t, tunnel.url, { key, cert });
    const env = {
      GMAIL_PROXY_URL: 'https://mail.example.org/',
      https_proxy: `https://127.0.0.1:${outer.port}/`,
    };
    // What the environment says against verifying is not heeded.
    const careless = { ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    const refused = await road.drain(['--once'], careless).ended;
    assert.equal(refused.code, 69);
    assert.match(refused.stderr, /https_proxy cannot be used: self-signed certificate/);
    const trusting = { ...env, NODE_EXTRA_CA_CERTS: file };
    const { code, stderr } = await road.drain(['--once'], trusting).ended;
    assert.equal(code, 0, stderr);
    assert.equal(proxy.posts.at(-1)?.recipients.length, 1);
  },
);

test(
  'NODE_TLS_REJECT_UNAUTHORIZED=0 does not make drain trust a proxy (law 10)',
  needs('openssl'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const tls = await Forwarder.open(t, proxy.url, await certificate(t, road.folder));
    const { code, stderr } = await road.drain(['--once'], {
      GMAIL_PROXY_URL: `https://localhost:${tls.port}/`,
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
    }).ended;
    assert.equal(code, 69);
    assert.match(stderr, /no trusted TLS connection/);
    assert.equal(proxy.posts.length, 0);
  },
);

async function gone(socket: Socket | undefined): Promise<void> {
  if (socket && !socket.destroyed) await once(socket, 'close');
}
