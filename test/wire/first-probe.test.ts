import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { attempt } from '../../src/wire/attempt.ts';
import { Connection } from '../../src/wire/connection.ts';
import { diagnose, resolveScope } from '../../src/wire/diagnose.ts';
import { postOnceOver } from '../../src/wire/post-once.ts';
import { Forwarder } from '../support/forwarder.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type Received, type Script } from '../support/scripted-proxy.ts';

// Without TLS a probe goes first over each connection; see squatter.test.ts for what that is good for.

const key = Buffer.from('a secret key');
const post = {
  id: 'an-id',
  envelope: { sender: '', recipients: ['a@example.org'] },
  bytes: [Buffer.from('x\n')],
  size: 2,
};
const never = new AbortController().signal;

async function scripted(t: TestContext, answerProbe?: Script) {
  const proxy = await ScriptedProxy.start(t, key.toString(), (each) => each.accept());
  const probes: Received[] = [];
  const answer = answerProbe ?? proxy.greet;
  proxy.greet = (probe) => {
    probes.push(probe);
    return answer(probe);
  };
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  return { proxy, probes, connection };
}

test('each connection carries one probe with an id of its own first, and then post after post', async (t) => {
  const { proxy, probes, connection } = await scripted(t);
  for (let count = 0; count < 20; count += 1) {
    assert.equal((await attempt(connection, post, never)).kind, 'verdicts');
  }
  const ports = new Set(proxy.posts.map(({ request }) => request.socket.remotePort));
  assert.ok(ports.size <= 2, `${ports.size} connections`);
  assert.deepEqual(new Set(probes.map(({ request }) => request.socket.remotePort)), ports);
  assert.equal(probes.length, ports.size);
  for (const { id, sender, recipients, bytes } of probes) {
    assert.match(id, /^[0-9a-f]{32}$/);
    assert.deepEqual([sender, recipients, bytes.length], ['', [], 0]);
  }
});

test('an answer to the first probe that is not of the proxy is trouble of the endpoint, also while other posts pass (law 5)', async (t) => {
  const statuses = [200, 204, 301, 400, 401, 404, 408, 413, 500, 503];
  for (const status of statuses) {
    const { proxy, connection } = await scripted(t, ({ response }) => {
      response.writeHead(status).end();
    });
    const answer = await attempt(connection, post, never);
    assert.ok(answer.kind === 'probe-failed', JSON.stringify(answer));
    assert.equal(resolveScope(diagnose(answer).scope, 'posts'), 'endpoint');
    assert.equal(proxy.posts.length, 0);
  }
  for (const broken of ['reset', 'closed'] as const) {
    const { connection } = await scripted(t, ({ request: { socket } }) => {
      if (broken === 'reset') socket.resetAndDestroy();
      else socket.end();
    });
    const answer = await attempt(connection, post, never);
    assert.ok(answer.kind === 'network' && answer.stage === 'connecting', JSON.stringify(answer));
    assert.equal(resolveScope(diagnose(answer).scope, 'posts'), 'endpoint');
  }
});

test('the first probe sets a wrong clock right, and hears a proxy that asks for fewer posts', async (t) => {
  const ahead = 7_200_000;
  let times = 0;
  const wrong = await scripted(t, (probe) => {
    times += 1;
    if (times > 1) return probe.accept();
    probe.signed(401, Buffer.from('off'), { timestamp: Math.floor((Date.now() + ahead) / 1000) });
  });
  const answer = await postOnceOver(wrong.connection, 'v2')(post, never);
  assert.equal(answer.kind, 'verdicts');
  assert.equal(wrong.proxy.posts.length, 1);
  const stamp = Number(wrong.proxy.posts[0]?.timestamp) * 1000;
  assert.ok(stamp - Date.now() > ahead / 2, `${stamp}`);

  const busy = await scripted(t, (probe) => probe.slower(3));
  assert.deepEqual(await attempt(busy.connection, post, never), {
    kind: 'slower',
    text: 'no room',
    retryAfterMs: 3000,
  });
});

test('a server that closes each connection after one answer gets no mail without TLS: the queue waits, and the operator is told (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, (each) => each.accept());
  proxy.greet = (probe) => {
    probe.response.setHeader('connection', 'close');
    probe.accept();
  };
  const { code, stderr } = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(code, 69, stderr);
  assert.match(stderr, /is down: without TLS, mail is posted only over a connection on which/);
  assert.match(stderr, /attention: .*or use https:/);
  assert.equal(proxy.posts.length, 0);
  for (const { state, attempts } of lookInto(road.spool).messages) {
    assert.deepEqual([state, attempts], ['queued', 0]);
  }
});

test('a middle box that resets each reused connection lets no mail pass without TLS, and no message is charged (law 5)', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const box = await Forwarder.open(t, `http://${road.address}/`);
  box.resetReused();
  handIn(road.spool, [{}, {}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: `http://127.0.0.1:${box.port}/` });
  await drain.says(/is down: .*try 2 failed/);
  assert.equal((await drain.stop()).code, 0);
  for (const { state, attempts } of lookInto(road.spool).messages) {
    assert.deepEqual([state, attempts], ['queued', 0]);
  }
});
