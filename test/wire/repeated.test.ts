import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { attempt, mayBeSent, requestOf, type PostResult } from '../../src/wire/attempt.ts';
import { encodeAnswers } from '../../src/wire/bundle.ts';
import { Bundler } from '../../src/wire/bundler.ts';
import { Connection } from '../../src/wire/connection.ts';
import { exchange } from '../../src/wire/exchange.ts';
import { encodeFrame, v2Type } from '../../src/wire/frame.ts';
import { postOnceOver } from '../../src/wire/post-once.ts';
import {
  ScriptedProxy,
  type Received,
  type ReceivedBundle,
  type Script,
} from '../support/scripted-proxy.ts';

// A post that was sent over a connection which broke is sent once more over a new one. Whatever is answered there, the
// first one may have arrived.

const key = Buffer.from('a secret key');
const never = new AbortController().signal;
const postOf = (id: string) => ({
  id,
  envelope: { sender: '', recipients: ['a@example.org'] },
  bytes: [Buffer.from('x\n')],
  size: 2,
});
const post = postOf('an-id');
const drop: Script = ({ request }) => void request.socket.destroy();
const plain =
  (status: number): Script =>
  ({ response }) =>
    void response.writeHead(status).end('no');
const signed =
  (status: number, timestamp?: number): Script =>
  (received) =>
    received.signed(status, Buffer.from('no'), timestamp === undefined ? {} : { timestamp });

const isProbe = ({ recipients }: Received) => recipients.length === 0;

/** A scripted proxy with a connection to it that has carried a post. */
async function used(t: TestContext) {
  const proxy = await ScriptedProxy.start(t, key.toString(), (each) => each.accept());
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  await attempt(connection, postOf('first'), never);
  /** What the proxy does with the posts that come, one after the other. */
  const next = (...scripts: Script[]) => {
    const left = [...scripts];
    proxy.script = async (each) => (left.shift() ?? drop)(each);
  };
  return { proxy, connection, next };
}

function isMaybeSent(result: PostResult): boolean {
  assert.ok(result.kind !== 'verdicts');
  return mayBeSent(result);
}

for (const [what, script, kind] of [
  ['429 of a load balancer', plain(429), 'http'],
  ['401 of a load balancer', plain(401), 'http'],
  ['503 of a load balancer', plain(503), 'http'],
  ['signed 503', signed(503), 'http'],
  ['signed 429', signed(429), 'slower'],
  ['signed 412', signed(412), 'other-ledger'],
  ['signed 401', signed(401), 'clock'],
] as const) {
  test(`a post whose connection broke gets a ${what} over the next one: it may be sent (law 6)`, async (t) => {
    const { proxy, connection, next } = await used(t);
    next(drop, script);
    const result = await attempt(connection, post, never);
    assert.deepEqual([result.kind, isMaybeSent(result)], [kind, true]);
    assert.deepEqual(
      proxy.posts.map(({ id }) => id),
      ['first', 'an-id', 'an-id'],
    );
  });
}

test('a post whose connection broke meets a proxy that does not answer the first probe of the next one: it may be sent (law 6)', async (t) => {
  for (const greet of [plain(429), signed(429), signed(401), drop]) {
    const { proxy, connection, next } = await used(t);
    next(drop);
    proxy.greet = greet;
    const result = await attempt(connection, post, never);
    assert.equal(isMaybeSent(result), true, result.kind);
    assert.equal(proxy.posts.length, 2);
  }
});

test('a post whose connection broke and that is then sent with another time may be sent, and one that was only refused for its time is not (law 6)', async (t) => {
  const ahead = Math.floor(Date.now() / 1000) + 7200;
  for (const [scripts, maybe] of [
    [[drop, signed(401, ahead), signed(503)], true],
    [[signed(401, ahead), signed(503)], false],
  ] as const) {
    const { proxy, connection, next } = await used(t);
    next(...scripts);
    const result = await postOnceOver(connection, 'v2')(post, never);
    assert.deepEqual([result.kind, isMaybeSent(result)], ['http', maybe]);
    assert.equal(proxy.posts.length, scripts.length + 1);
  }
});

test('a bundle whose connection broke: what is answered over the next one leaves open whether the messages are sent (law 6)', async (t) => {
  const few = ['one', 'two'].map(postOf);
  for (const part of [true, false]) {
    const { proxy, connection } = await used(t);
    const refuse = (bundle: ReceivedBundle) => {
      if (!part) return bundle.response.writeHead(413).end();
      const no = { status: 503, retryAfter: 0, body: Buffer.from('no') };
      bundle.part(encodeAnswers(bundle.posts.map(({ id }) => ({ id, ...no }))));
      return bundle.response.end();
    };
    proxy.bundle = (bundle) => {
      if (proxy.bundles.length === 1) bundle.response.socket?.destroy();
      else refuse(bundle);
    };
    proxy.script = (each) => each.accept();
    await attempt(connection, postOf('second'), never);
    const bundler = new Bundler(connection);
    const bundled = await Promise.all(few.map(async (each) => bundler.post(each, never)));
    for (const { result, maybeSent } of bundled) {
      assert.deepEqual([result?.kind, maybeSent], part ? ['http', undefined] : [undefined, true]);
      if (result) assert.equal(isMaybeSent(result), true);
    }
    assert.equal(proxy.bundles.length, 2);
  }
});

test('nothing of a post was sent over a connection that was closed while it was idle: what refuses it over the next one says that it is not sent', async (t) => {
  const { proxy, connection, next } = await used(t);
  const [{ request } = assert.fail()] = proxy.posts;
  const closed = once(request.socket, 'close');
  request.socket.end();
  await closed;
  next(signed(503));
  assert.equal(isMaybeSent(await attempt(connection, post, never)), false);
});

test('nothing of a post was sent over a connection that broke at its first probe', async (t) => {
  const proxy = await ScriptedProxy.start(t, key.toString(), (each) =>
    isProbe(each) ? drop(each) : signed(503)(each),
  );
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  // It has carried a request, and no first probe.
  const frame = encodeFrame({ sender: '', recipients: [] }, {});
  const request = { id: 'x', body: [frame], length: frame.length };
  const first = await exchange(connection, requestOf(connection, v2Type, request), never);
  assert.equal(first.kind, 'response');
  assert.equal(isMaybeSent(await attempt(connection, post, never)), false);
  assert.deepEqual(proxy.posts.map(isProbe), [true, false]);
});
