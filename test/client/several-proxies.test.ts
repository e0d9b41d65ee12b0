import assert from 'node:assert/strict';
import test from 'node:test';
import { GmailProxy } from '../../src/client/gmail-proxy.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const key = 'a secret key for this road';
const dead = 'http://127.0.0.1:1/';
const message = 'From: a@example.org\nTo: b@example.org\n\nHello\n';

test('the library uses the first of several proxies to which a connection can be made, for a message and for verify', async (t) => {
  const proxy = await ScriptedProxy.start(t, key, (post) => post.accept());
  const client = new GmailProxy(key, `${dead} ${proxy.url}`);
  t.after(() => client.close());
  assert.equal(await client.sendMail(message), true);
  assert.equal(await client.verify(), true);
  const none = new GmailProxy(key, `${dead} http://127.0.0.1:2/`);
  await assert.rejects(none.sendMail(message), /cannot be reached: .*127\.0\.0\.1:2/);
});

test('the library does not post to another proxy what the first one may have sent, and asks that one for the result (law 6)', async (t) => {
  const first = await ScriptedProxy.start(t, key, ({ request }) => void request.socket.destroy());
  const second = await ScriptedProxy.start(t, key, (post) => post.accept());
  const client = new GmailProxy(key, `${first.url} ${second.url}`);
  t.after(() => client.close());
  await assert.rejects(client.sendMail(message), /the post to the proxy failed/);
  first.ledger = 'one';
  first.script = (post) => (post.ask ? post.accept() : post.inProgress());
  assert.equal(await client.sendMail(message), true);
  assert.deepEqual(second.posts, []);
  assert.equal(first.posts.at(-1)?.ledger, 'one');
});

test('a list of proxies that cannot be used is a mistake that is named', () => {
  for (const [urls, fault] of [
    ['https://a.example/ https://a.example/', /https:\/\/a\.example\/ is named twice/],
    ['https://a.example/ nonsense', /is not an http\(s\) URL/],
    [Array.from({ length: 9 }, (_, nth) => `https://${nth}.example/`).join(' '), /at most 8/],
    [`https://a.example/${'x'.repeat(2048)}`, /longer than 2048 characters/],
  ] as const) {
    assert.throws(() => new GmailProxy(key, urls), fault);
  }
});
