import assert from 'node:assert/strict';
import { Server } from 'node:net';
import test, { type TestContext } from 'node:test';
import { LocalProxy } from '../support/local-proxy.ts';
import { exchange, signedPost } from '../support/signed-post.ts';

async function stillWorks({ address, key, controlled }: LocalProxy): Promise<void> {
  assert.equal((await signedPost(address, { key, id: 'after' })).status, 200);
  assert.equal(controlled.calls.at(-1)?.id, 'after');
}

test('a defect is answered 500, told with its place, and the proxy goes on (law 7)', async (t) => {
  const local = await LocalProxy.start(t);
  const { deliverer } = local.controlled;
  t.mock.method(deliverer, 'send', () => Promise.reject(new TypeError('x is not a function')), {
    times: 1,
  });
  const answer = await signedPost(local.address, { key: local.key });
  assert.deepEqual([answer.status, answer.body.length], [500, 0]);
  const told = local.journal.find((line) => line.includes('defect'));
  assert.match(told ?? '', /a defect of the proxy: TypeError: x is not a function.* at .*\.ts:\d+/);
  await stillWorks(local);
});

test('a defect while the answer is sent closes the connection, is told, and the proxy goes on (law 7)', async (t) => {
  const local = await LocalProxy.start(t, (line) => {
    if (line.includes('refused with 405')) throw new Error('no room in the journal');
  });
  await assert.rejects(exchange(local.address, { method: 'PUT' }), /socket hang up|ECONNRESET/);
  assert.match(local.journal[0] ?? '', /a defect of the proxy: Error: no room in the journal/);
  await stillWorks(local);
});

test('trouble of the listening socket is told each time, and the proxy goes on (law 7)', async (t) => {
  const server = caught(t);
  const local = await LocalProxy.start(t);
  for (const _ of ['once', 'again']) server().emit('error', new Error('accept EMFILE'));
  assert.equal(local.journal.filter((line) => line.includes('accept EMFILE')).length, 2);
  await stillWorks(local);
});

/** The server that is made to listen next. */
function caught(t: TestContext): () => Server {
  const { mock } = t.mock.method(Server.prototype, 'listen');
  return () => mock.calls[0]?.this as Server;
}
