import assert from 'node:assert/strict';
import test from 'node:test';
import { clock } from '../support/clock.ts';
import { Forwarder } from '../support/forwarder.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test('a closed port: the queue waits, and everything arrives when it opens (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const port = await Forwarder.open(t, proxy.url);
  await port.close();
  const drain = road.drain([], { GMAIL_PROXY_URL: `http://127.0.0.1:${port.port}/` });
  await drain.says(/cannot be reached: .*ECONNREFUSED.*try 2 failed/);
  assert.match(drain.stderr, /no post has ever passed: is GMAIL_PROXY_URL right, and does the /);
  for (const message of lookInto(road.spool).messages) {
    assert.deepEqual([message.state, message.attempts], ['queued', 0]);
  }
  await port.listen(proxy.url);
  await drain.says(/attempt 1: .*> sent \(/, 2);
  assert.doesNotMatch(drain.stderr, /attention/);
  assert.equal((await drain.stop()).code, 0);
});

// dma #30: DNS failures bounced mail. OpenSMTPD #797: a corrected setting did not reach what was queued.
test('a name that DNS does not know: the mail waits, also for another URL (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const lost = road.drain([], { GMAIL_PROXY_URL: 'https://mail.invalid/' });
  // Without any network, the resolver says EAI_AGAIN.
  await lost.says(/ENOTFOUND|EAI_AGAIN/);
  await lost.says(/try 2 failed/);
  const [waiting] = lookInto(road.spool).messages;
  assert.deepEqual([waiting?.state, waiting?.attempts], ['queued', 0]);
  await lost.stop();

  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const found = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(found.code, 0);
  const [sent] = lookInto(road.spool).messages;
  assert.deepEqual([sent?.state, sent?.attempts], ['sent', 1]);
});

test('drain --once does not wait for an endpoint that is down: 69, and the mail stays', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}]);
  const { code, stderr } = await road.drain(['--once']).ended;
  assert.equal(code, 69);
  assert.match(stderr, /ECONNREFUSED/);
  assert.equal(lookInto(road.spool).counters.queued, 2);
});

test(
  'an outage: waits double up to a minute, and less than one request a minute is made',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, ({ response }) => {
      response.writeHead(404).end();
    });
    const env = { GMAIL_PROXY_URL: proxy.url, ...clock('+0 x40') };
    const drain = road.drain([], env);
    await drain.says(/try 9 failed/);
    const waits = [...drain.stderr.matchAll(/try \d+ failed, next try in (\d+) s/g)].map(([, s]) =>
      Number(s),
    );
    for (const [index, least] of [1, 2, 4, 8, 16, 32, 60, 60, 60].entries()) {
      const wait = waits[index] ?? 0;
      assert.ok(wait >= least && wait <= Math.ceil(least * 1.25), `${waits.join(', ')} s`);
    }
    // An operator's fault is told again after an hour, not with each try.
    assert.equal(drain.stderr.match(/attention/g)?.length, 1);
    assert.equal(proxy.posts.filter(({ recipients }) => recipients.length > 0).length, 1);
  },
);
