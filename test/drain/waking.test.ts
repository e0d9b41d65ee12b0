import assert from 'node:assert/strict';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { join } from 'node:path';
import { clock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { bsmtp, Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

// vector #22946: a wake-up was lost, and the last message alone waited for the next one.
test('an idle drain sends what exim-pipe hands in without waiting for its next look', async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/started; 0 messages/);
  const before = performance.now();
  for (const number of [1, 2, 3]) {
    await road.pipe(`1abc-${number}`, bsmtp('s@example.com', ['r@example.org'], 'x\n'));
    await drain.says(/attempt 1: .*> sent \(/, number);
  }
  // One look comes every 30 s: three of them by chance would take longer than this.
  assert.ok(performance.now() - before < 30_000);
});

test(
  'mail of a writer that died before it woke drain is found by the next look',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...clock('+0 x20') });
    await drain.says(/started; 0 messages/);
    handIn(road.spool, [{}], { wake: false });
    await drain.says(/attempt 1: .*> sent \(/);
  },
);

test(
  'a deferred message is posted again when it is due, by a drain that nobody wakes',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const times: number[] = [];
    const proxy = await ScriptedProxy.start(t, road.key, (post) => {
      times.push(Number(post.timestamp));
      if (times.length === 4) post.accept();
      else post.answer(() => ({ status: '4.2.2', reason: 'full' }));
    });
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...clock('+0 x40') });
    await drain.says(/attempt 4: .*> sent \(/);
    // 30, 60 and 120 s, a fifth less at the least. Timestamps are whole seconds.
    for (const [index, wait] of [30, 60, 120].entries()) {
      const waited = (times[index + 1] ?? 0) - (times[index] ?? 0);
      assert.ok(waited >= wait * 0.8 - 1, `${waited} s instead of ${wait}`);
    }
  },
);

test('a spool that another process keeps locked: drain waits, loses and doubles nothing', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const [post] = await proxy.received(1);
  const other = new Database(join(road.spool, 'spool.db'));
  other.exec('BEGIN IMMEDIATE');
  proxy.script = (each) => each.accept();
  post.accept();
  // There is no event for a drain that waits: this is the time in which it could do something wrong.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  assert.equal(proxy.posts.length, 1, 'nothing is posted while nothing can be recorded');
  other.exec('ROLLBACK');
  other.close();
  await drain.says(/attempt 1: .*> sent \(/, 3);
  assert.equal((await drain.stop()).code, 0);
  assert.equal(new Set(proxy.posts.map(({ id }) => id)).size, 3);
  assert.equal(proxy.posts.length, 3);
  assert.equal(lookInto(road.spool).counters.sent, 3);
});

test('outcomes that the spool does not take are kept and recorded later; nothing is posted twice', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}, {}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const other = new Database(join(road.spool, 'spool.db'));
  other.exec(
    `CREATE TRIGGER sick BEFORE UPDATE ON recipient BEGIN SELECT raise(ABORT, 'disk is sick'); END`,
  );
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(
    /cannot be written, so nothing is sent: disk is sick; it is not .* \(trigger sick\) .*; next try in 5 s/,
  );
  assert.equal(lookInto(road.spool).counters.sending, 1);
  other.exec('DROP TRIGGER sick');
  other.close();
  await drain.says(/attempt 1: .*> sent \(/, 3);
  assert.equal((await drain.stop()).code, 0);
  assert.equal(proxy.posts.length, 3);
  assert.equal(lookInto(road.spool).counters.sent, 3);
});
