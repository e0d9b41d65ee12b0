import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { formPost } from '../support/form-post.ts';
import { Road } from '../support/road.ts';
import { applicationError, rpcError, ScriptedApiHost, SENT } from '../support/scripted-api-host.ts';
import { signedPost } from '../support/signed-post.ts';

async function start(t: TestContext, ...options: string[]) {
  const api = await ScriptedApiHost.start(t);
  const road = new Road(t);
  await road.proxy(['--backend', 'appengine', ...options], api.environment);
  return { api, road };
}

test("the Mail API is called with the request's own ticket, in v1 and v2", async (t) => {
  const { api, road } = await start(t);
  const { key } = road;
  const headers = { 'x-appengine-api-ticket': 'a ticket' };
  assert.equal((await formPost(road.address, { key, headers })).status, 204);
  assert.equal((await signedPost(road.address, { key, headers })).status, 200);
  const dev = { ...headers, 'x-appengine-dev-request-id': 'of the development server' };
  assert.equal((await signedPost(road.address, { key, headers: dev })).status, 200);
  assert.equal((await signedPost(road.address, { key })).status, 200);
  assert.deepEqual(
    api.calls.map(({ ticket }) => ticket),
    ['a ticket', 'a ticket', 'of the development server', ''],
  );
});

test('a delivery has the ticket of the request that began it, while others wait for it or have their own', async (t) => {
  const { api, road } = await start(t);
  const { key } = road;
  const [first, third] = [new AbortController(), new AbortController()];
  const calls = [once(first.signal, 'abort'), once(third.signal, 'abort')];
  api.script = async () => {
    if (api.calls.length === 1) first.abort();
    if (api.calls.length === 3) third.abort();
    await calls[1];
    return SENT;
  };
  const post = async (id: string, ticket: string) =>
    signedPost(road.address, { key, id, headers: { 'x-appengine-api-ticket': ticket } });
  const posts = [post('one', 'first')];
  await calls[0];
  posts.push(post('other', 'a'), post('another', 'b'), post('one', 'c'));
  const answers = await Promise.all(posts);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  assert.deepEqual(api.calls.map(({ ticket }) => ticket).toSorted(), ['a', 'b', 'first']);
});

test('HTML alone gets a text', async (t) => {
  const { api, road } = await start(t);
  const bytes = 'Content-Type: text/html\n\n<h1>Hello</h1>';
  assert.equal((await signedPost(road.address, { key: road.key, bytes })).status, 200);
  assert.deepEqual(api.calls[0]?.message.TextBody, ['HELLO']);
});

test('a sender that the Mail API refuses is replaced for fix_sender and --fix-sender alone', async (t) => {
  const { api, road } = await start(t, '--default-sender', 'us@example.com');
  api.script = ({ message: { Sender } }) =>
    Sender[0] === 'us@example.com' ? SENT : applicationError(3, 'Unauthorized sender');
  const { key } = road;
  const strict = await formPost(road.address, { key });
  assert.equal(strict.status, 400);
  assert.match(strict.body.toString(), /^Unauthorized message sender 'me@example\.com'/);
  assert.equal((await formPost(road.address, { key, fields: { fix_sender: '1' } })).status, 204);
  assert.deepEqual(api.calls.at(-1)?.message.ReplyTo, ['me@example.com']);
});

test('--fix-sender does so for everybody, and only with a default sender that is allowed', async (t) => {
  const policy = ['--fix-sender', '--default-sender', 'us@example.com'];
  const { api, road } = await start(t, ...policy, '--allow-sender', 'me@example.com');
  api.script = () => applicationError(3, 'Unauthorized sender');
  assert.equal((await formPost(road.address, { key: road.key })).status, 400);
  assert.deepEqual(
    api.calls.map(({ message: { Sender } }) => Sender),
    [['me@example.com']],
  );
});

test('a quota that is used up holds the queue back for minutes (law 5)', async (t) => {
  const { api, road } = await start(t);
  api.script = () => rpcError(4, 'too much');
  const { status, headers } = await signedPost(road.address, { key: road.key });
  assert.deepEqual([status, headers['retry-after']], [503, '300']);
  const form = await formPost(road.address, { key: road.key });
  assert.deepEqual([form.status, form.headers['retry-after']], [500, '300']);
});
