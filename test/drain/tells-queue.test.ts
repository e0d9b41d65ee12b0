import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../src/limits.ts';
import { handIn } from '../support/hand-in.ts';
import { MovedTime } from '../support/moved-time.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const HOUR = 3_600_000;

test('a post tells the proxy how many messages wait, and for how long the oldest has', async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  handIn(road.spool, [{}, {}], { queuedAt: Date.now() - HOUR });
  const drain = road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url });
  assert.equal((await drain.ended).code, 0);
  const [first] = proxy.posts;
  assert.equal(first?.queue?.length, 2);
  const seconds = first.queue.oldestSeconds ?? 0;
  assert.ok(seconds >= 3600 && seconds < 3700, `${seconds}`);
});

test(
  'a drain without mail tells it by a probe, long before a host counts as missing',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const time = new MovedTime(road);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...time.env });
    await drain.says(/drain of .* started/);
    const told = proxy.received(2);
    while (await Promise.race([told.then(() => false), sleep(200, true)])) {
      time.move(limits.tellQueueMs);
    }
    for (const { recipients, queue } of proxy.posts) {
      assert.deepEqual([recipients.length, queue?.length], [0, 0]);
    }
    assert.ok(3 * limits.tellQueueMs < HOUR);
  },
);
