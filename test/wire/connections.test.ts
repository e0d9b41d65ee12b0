import assert from 'node:assert/strict';
import { syncBuiltinESMExports } from 'node:module';
import test, { type TestContext } from 'node:test';
import nodeTls from 'node:tls';
import { limits } from '../../src/limits.ts';
import { attempt } from '../../src/wire/attempt.ts';
import { Connection } from '../../src/wire/connection.ts';
import { certificate } from '../support/certificate.ts';
import { connectProxy } from '../support/connect-proxy.ts';
import { Forwarder } from '../support/forwarder.ts';
import { needs } from '../support/needs.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedProxy, type Received } from '../support/scripted-proxy.ts';

const key = Buffer.from('a secret key');
const request = {
  id: 'an-id',
  envelope: { sender: '', recipients: ['a@example.org'] },
  bytes: [Buffer.from('x\n')],
  size: 2,
};
const never = new AbortController().signal;

test('many attempts go over one connection, and attempts at once over several', async (t) => {
  const ports = new Set<number | undefined>();
  const held: Received[] = [];
  const proxy = await ScriptedProxy.start(t, key.toString(), (post) => {
    ports.add(post.request.socket.remotePort);
    post.accept();
  });
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  for (let count = 0; count < 50; count += 1) {
    assert.equal((await attempt(connection, request, never)).kind, 'verdicts');
  }
  // The second attempt may begin before the first one's connection counts as free.
  assert.ok(ports.size <= 2, `${ports.size} connections`);

  ports.clear();
  proxy.script = (post) => {
    ports.add(post.request.socket.remotePort);
    held.push(post);
  };
  const attempts = Array.from({ length: 65 }, async () => attempt(connection, request, never));
  await proxy.received(50 + 65);
  for (const each of held) each.accept();
  for (const answer of await Promise.all(attempts)) assert.equal(answer.kind, 'verdicts');
  assert.equal(ports.size, 65, 'no post waits behind another');
});

/** Posts, what is asked for, and a probe. */
const MOST = limits.inFlight + limits.asked + 1;

test('more attempts at once than there are connections: the others wait, and go over the same', async (t) => {
  const ports = new Set<number | undefined>();
  const held: Received[] = [];
  const proxy = await ScriptedProxy.start(t, key.toString(), (post) => {
    ports.add(post.request.socket.remotePort);
    held.push(post);
  });
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  const giveUp = new AbortController();
  const attempts = Array.from({ length: MOST + 19 }, async () =>
    attempt(connection, request, never),
  );
  const givenUp = attempt(connection, request, giveUp.signal);
  await proxy.received(MOST);
  giveUp.abort();
  assert.equal((await givenUp).kind, 'aborted', 'also while it waits');
  proxy.script = (post) => {
    ports.add(post.request.socket.remotePort);
    post.accept();
  };
  for (const each of held) each.accept();
  for (const answer of await Promise.all(attempts)) assert.equal(answer.kind, 'verdicts');
  assert.deepEqual([proxy.posts.length, ports.size], [MOST + 19, MOST]);
});

test(
  'a server that closes each connection after its answer is no trouble by TLS',
  needs('openssl'),
  async (t) => {
    const ports = new Set<number | undefined>();
    const proxy = await ScriptedProxy.start(t, key.toString(), (post) => {
      ports.add(post.request.socket.remotePort);
      post.response.setHeader('connection', 'close');
      post.accept();
    });
    const { key: tlsKey, cert } = await certificate(t, scratch(t));
    const tls = await Forwarder.open(t, proxy.url, { key: tlsKey, cert });
    const url = new URL(`https://localhost:${tls.port}/`);
    const connection = new Connection({ url, key, ca: cert.toString() });
    t.after(() => connection.close());
    for (let count = 0; count < 5; count += 1) {
      assert.equal((await attempt(connection, request, never)).kind, 'verdicts');
    }
    assert.equal(ports.size, 5);
  },
);

test(
  'all connections to a proxy share what was read of the certificates that are trusted',
  needs('openssl'),
  async (t) => {
    const held: Received[] = [];
    const proxy = await ScriptedProxy.start(t, key.toString(), (post) => void held.push(post));
    const { key: tlsKey, cert } = await certificate(t, scratch(t));
    const forwarder = await Forwarder.open(t, proxy.url, { key: tlsKey, cert });
    const url = new URL(`https://localhost:${forwarder.port}/`);
    const connection = new Connection({ url, key, ca: cert.toString() });
    t.after(() => connection.close());
    const create = t.mock.method(nodeTls, 'createSecureContext');
    syncBuiltinESMExports();
    const attempts = Array.from({ length: 5 }, async () => attempt(connection, request, never));
    await proxy.received(5);
    for (const each of held) each.accept();
    for (const answer of await Promise.all(attempts)) assert.equal(answer.kind, 'verdicts');
    const ofClients = create.mock.calls.filter(({ arguments: [options] }) => options?.ca);
    create.mock.restore();
    syncBuiltinESMExports();
    assert.equal(ofClients.length, 1);
  },
);

test(
  'https_proxy is honoured for other hosts, and TLS goes through it from end to end',
  needs('openssl'),
  async (t) => {
    const folder = scratch(t);
    const proxy = await ScriptedProxy.start(t, key.toString(), (post) => post.accept());
    const { key: tlsKey, cert } = await certificate(t, folder, 'mail.example.org');
    const tls = await Forwarder.open(t, proxy.url, { key: tlsKey, cert });
    const tunnel = await connectProxy(t, tls.port);
    environment(t, { https_proxy: tunnel.url, no_proxy: 'direct.invalid' });

    const url = new URL('https://mail.example.org/');
    const connection = new Connection({ url, key, ca: cert.toString() });
    t.after(() => connection.close());
    assert.equal((await attempt(connection, request, never)).kind, 'verdicts');
    assert.equal((await attempt(connection, request, never)).kind, 'verdicts');
    assert.deepEqual([...new Set(tunnel.asked)], ['mail.example.org:443']);
    assert.equal(connection.pool.used?.reached, undefined, 'the address there is not known');

    const untrusting = new Connection({ url, key });
    t.after(() => untrusting.close());
    const refused = await attempt(untrusting, request, never);
    assert.ok(
      refused.kind === 'network' && /SELF_SIGNED/.test(refused.code),
      JSON.stringify(refused),
    );

    const direct = new Connection({ url: new URL('https://direct.invalid/'), key });
    t.after(() => direct.close());
    const lost = await attempt(direct, request, never);
    assert.ok(
      lost.kind === 'network' && /ENOTFOUND|EAI_AGAIN/.test(lost.code),
      'no_proxy is honoured',
    );
  },
);

test('a proxy on this machine is never asked through https_proxy or http_proxy', async (t) => {
  const proxy = await ScriptedProxy.start(t, key.toString(), (post) => post.accept());
  environment(t, { http_proxy: 'http://127.0.0.1:1/', https_proxy: 'http://127.0.0.1:1/' });
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  assert.equal((await attempt(connection, request, never)).kind, 'verdicts');
});

/** Sets variables of this process for the time of the test. */
function environment(t: TestContext, variables: Record<string, string>): void {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  t.after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}
