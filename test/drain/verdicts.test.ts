import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { MovedTime } from '../support/moved-time.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const HOUR = 3_600_000;

test('5.1.1 for one of three recipients fails that one, and the others are sent (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org', 'c@example.org'] }]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer((recipient) =>
      recipient.startsWith('b')
        ? { status: '5.1.1', reason: 'no such user' }
        : { status: '2.1.5', reason: 'taken' },
    ),
  );
  const { stderr, code } = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(code, 0);
  assert.match(stderr, /<b@example.org> failed \(5\.1\.1 no such user\)/);
  const { messages, counters } = lookInto(road.spool);
  assert.equal(counters.failed, 1);
  const [message] = messages;
  assert.deepEqual([message?.state, message?.attempts, message?.dueAt], ['failed', 1, null]);
  assert.deepEqual(message?.recipients, [
    { address: 'a@example.org', state: 'sent', status: '2.1.5', reason: 'taken' },
    { address: 'b@example.org', state: 'failed', status: '5.1.1', reason: 'no such user' },
    { address: 'c@example.org', state: 'sent', status: '2.1.5', reason: 'taken' },
  ]);
  assert.equal(proxy.posts.length, 1);
});

test('4.2.2 defers that recipient for 24 to 36 s, and only it is posted again', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{ recipients: ['full@example.org', 'b@example.org'] }]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer((recipient) =>
      recipient.startsWith('full')
        ? { status: '4.2.2', reason: 'mailbox full' }
        : { status: '2.0.0', reason: 'taken' },
    ),
  );
  const env = { GMAIL_PROXY_URL: proxy.url };
  const before = Date.now();
  const first = await road.drain(['--once'], env).ended;
  const after = Date.now();
  assert.match(
    first.stderr,
    /full@example.org> deferred \(4\.2\.2 mailbox full\).*next try in \d+ s/,
  );
  const { messages, shown } = lookInto(road.spool);
  const [message] = messages;
  assert.deepEqual([message?.state, message?.attempts], ['queued', 1]);
  assert.deepEqual([message?.lastStatus, message?.lastReason], ['4.2.2', 'mailbox full']);
  const dueAt = shown.wall(message?.dueAt ?? 0);
  assert.ok(dueAt >= before + 24_000 && dueAt <= after + 36_000, `due in ${dueAt - after} ms`);
  assert.deepEqual(
    message?.recipients.map(({ state, status }) => [state, status]),
    [
      ['pending', '4.2.2'],
      ['sent', '2.0.0'],
    ],
  );

  // It is not due, so nothing is posted; after a retry the rest is.
  await road.drain(['--once'], env).ended;
  assert.equal(proxy.posts.length, 1);
  await road.queue('retry', id);
  proxy.script = (post) => post.accept();
  await road.drain(['--once'], env).ended;
  assert.deepEqual(proxy.posts[1]?.recipients, ['full@example.org']);
  assert.equal(proxy.posts[1]?.id, id, 'the same id in every attempt');
  const [sent] = lookInto(road.spool).messages;
  assert.deepEqual([sent?.state, sent?.attempts], ['sent', 2]);
});

test('recipients that are too many for one post are posted again at once, uncharged', async (t) => {
  const road = new Road(t);
  const recipients = ['a', 'b', 'c', 'd', 'e'].map((name) => `${name}@example.org`);
  const [id] = handIn(road.spool, [{ recipients, bytes: 'to five\n' }]);
  await road.proxy(['--max-recipients', '2']);
  const { code, stderr } = await road.drain(['--once']).ended;
  assert.equal(code, 0);
  assert.match(stderr, /attempt 1: .*> sent \(/);
  const deliveries = road.deliveries();
  assert.deepEqual(
    deliveries
      .map((each) => each.recipients)
      .toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1)),
    [recipients.slice(0, 2), recipients.slice(2, 4), recipients.slice(4)],
  );
  for (const delivery of deliveries) {
    assert.deepEqual([delivery.id, delivery.bytes.toString()], [id, 'to five\n']);
  }
  const [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.attempts], ['sent', 1]);
});

test('a proxy that finds every recipient one too many defers them and is not asked for ever', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org'] }]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.5.3', reason: 'too many' })),
  );
  const { code } = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(code, 0);
  assert.equal(proxy.posts.length, 1);
  const [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.attempts], ['queued', 1]);
});

test(
  'what the proxy says it is still sending is told once, and again each hour, until it is decided',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const time = new MovedTime(road);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.inProgress());
    handIn(road.spool, [{}]);
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...time.env });
    await proxy.received(2, ({ ask }) => ask);
    assert.equal(drain.stderr.split('the proxy is still sending it').length, 2);
    assert.doesNotMatch(drain.stderr, /for .* has been sending it/);
    for (const told of ['60 min', '2 h']) {
      time.move(HOUR);
      await drain.says(new RegExp(`for ${told} the proxy ${proxy.url} has been sending it to <`));
    }
    proxy.script = (post) => post.accept();
    await drain.says(/> sent \(/);
    assert.equal(drain.stderr.split('has been sending it').length, 3);
  },
);
