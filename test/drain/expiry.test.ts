import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { letPass } from '../support/let-pass.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

/** A message that was deferred once, by 4.2.2, a moment ago; `once` runs drain that many days later. */
async function deferred(t: TestContext): Promise<{
  road: Road;
  proxy: ScriptedProxy;
  once: (days: number, url?: string) => Promise<string>;
}> {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.2.2', reason: 'mailbox full' })),
  );
  let today = 0;
  const once = async (days: number, url = proxy.url) => {
    passDays(road, days - today);
    today = days;
    return (await road.drain(['--once'], { GMAIL_PROXY_URL: url }).ended).stderr;
  };
  assert.match(await once(0), /deferred \(4\.2\.2 mailbox full\)/);
  return { road, proxy, once };
}

function passDays(road: Road, days: number): void {
  letPass(join(road.spool, 'spool.db'), days * 86_400_000);
}

const closed = 'http://127.0.0.1:1/';

// maddy #678: with fewer tries allowed than a message had had, it stayed for ever. Here it is over at its next try.
test('temporary refusals for five days end a recipient with 5.4.7, not before', async (t) => {
  const { road, once } = await deferred(t);
  await once(4);
  let [message] = lookInto(road.spool).messages;
  assert.deepEqual(
    [message?.state, message?.attempts, message?.lastStatus],
    ['queued', 2, '4.2.2'],
  );

  assert.match(
    await once(6),
    /expired \(5\.4\.7 not delivered in 6 days; the last answer was 4\.2\.2 mailbox full\)/,
  );
  [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.attempts], ['failed', 3]);
  assert.deepEqual(
    message?.recipients.map(({ state, status }) => [state, status]),
    [['failed', '5.4.7']],
  );
});

// Exim's FAQ Q0615: a host that was down for long enough bounced all mail for it, also what had just come.
test('an endpoint that is down ends nothing after six days, and after 15 what was tried all that time (law 5)', async (t) => {
  const { road, proxy, once } = await deferred(t);
  assert.match(await once(6, closed), /stays in the queue/);
  let [message] = lookInto(road.spool).messages;
  assert.deepEqual(
    [message?.state, message?.attempts, message?.lastStatus],
    ['queued', 1, '4.4.1'],
  );

  // A run ends with the first post that finds it down: two, so that both are posted.
  await once(13, closed);
  const [young] = handIn(road.spool, [{}]);
  await once(13, closed);
  assert.match(
    (await once(15, closed)) + (await once(15, closed)),
    /expired \(5\.4\.7 not delivered in 15 days; .*ECONNREFUSED/,
  );
  [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.recipients[0]?.status], ['failed', '5.4.7']);

  proxy.script = (post) => post.accept();
  await once(15);
  assert.equal(proxy.posts.at(-1)?.id, young, 'what had just come was not given up');
});

test('the time for which the endpoint was down is added to the five days', async (t) => {
  const { road, proxy, once } = await deferred(t);
  await once(1, closed);
  await once(6); // The outage lasted until this answer, which is temporary again.
  await once(7);
  let [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.lastStatus], ['queued', '4.2.2']);
  await once(11);
  [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.recipients[0]?.status], ['failed', '5.4.7']);
  assert.equal(proxy.posts.filter(({ recipients }) => recipients.length > 0).length, 4);
});

test('what was never tried does not expire: it is tried first, and sent', async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  handIn(road.spool, [{}], { queuedAt: Date.now() - 20 * 86_400_000 });
  passDays(road, 20);
  const { code } = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(code, 0);
  assert.equal(lookInto(road.spool).counters.sent, 1);
});

test('time held does not count: what is released has a new lifetime', async (t) => {
  const { road, once } = await deferred(t);
  const [message] = lookInto(road.spool).messages;
  await road.queue('hold', message?.id ?? '');
  const release = ['release', message?.id ?? ''];
  passDays(road, 9);
  const ended = await road.queue(...release);
  assert.equal(ended.code, 0, ended.stderr);
  await once(0);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
    [['queued', 2]],
  );
});

test('a release more than 25 days after the first post wants --force', async (t) => {
  const { road } = await deferred(t);
  const [message] = lookInto(road.spool).messages;
  await road.queue('hold', message?.id ?? '');
  const release = ['release', message?.id ?? ''];
  passDays(road, 26);
  const refused = await road.queue(...release);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /--force/);
  assert.equal(lookInto(road.spool).counters.held, 1);
  const forced = await road.queue(...release, '--force');
  assert.equal(forced.code, 0, forced.stderr);
  assert.equal(lookInto(road.spool).counters.queued, 1);
});

test('nothing expires at its first try, however old: not in an outage, not by a 4.x.x (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}], { queuedAt: Date.now() - 20 * 86_400_000 });
  passDays(road, 20);
  const down = await road.drain(['--once'], { GMAIL_PROXY_URL: closed }).ended;
  assert.match(down.stderr, /stays in the queue/);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.7.1', reason: 'greylisted' })),
  );
  await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  const [message] = lookInto(road.spool).messages;
  assert.deepEqual(
    [message?.state, message?.attempts, message?.lastStatus],
    ['queued', 1, '4.7.1'],
  );
});
