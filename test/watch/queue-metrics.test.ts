import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { spoolMetrics } from '../../src/watch/spool-metrics.ts';
import { spoolView } from '../../src/watch/spool-view.ts';
import { metricsText } from '../../src/watch/metric.ts';
import { operate } from '../../src/spool/operate.ts';
import { inspectSpool } from '../../src/spool/recover/inspect-spool.ts';
import { Spool } from '../../src/spool/spool.ts';
import { figures, LONG } from '../support/figures.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { assertGoodMetrics, valueOf } from '../support/promtool.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

/** A queue of which messages were sent, deferred and refused. */
async function usedQueue(t: TestContext): Promise<Road> {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer((recipient) => {
      if (recipient.startsWith('gone')) return { status: '5.1.1', reason: 'no such user' };
      if (recipient.startsWith('full')) return { status: '4.2.2', reason: 'mailbox full' };
      return { status: recipient.startsWith('odd') ? '5.999.1' : '2.0.0', reason: 'so' };
    }),
  );
  handIn(road.spool, [
    { recipients: ['a@example.org', 'b@example.org'] },
    { recipients: ['full@example.org'] },
    { recipients: ['gone@example.org', 'odd@example.org'] },
  ]);
  const drain = road.drain(['--once', '--notice-smtp', '127.0.0.1:1'], {
    GMAIL_PROXY_URL: proxy.url,
  });
  await drain.ended;
  return road;
}

async function metricsOf(road: Road, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await road.queue('metrics', ...args);
  assert.deepEqual([code, stderr], [0, '']);
  return stdout.toString();
}

test(
  'queue metrics says what is queued and what became of the rest, as promtool wants it',
  needs('prometheus'),
  async (t) => {
    const road = await usedQueue(t);
    const text = await metricsOf(road);
    await assertGoodMetrics(t, text);
    const expected = {
      'messages{state="queued"}': 1,
      'messages{state="failed"}': 1,
      'messages_total{event="accepted"}': 3,
      'messages_total{event="sent"}': 1,
      'messages_total{event="failed"}': 1,
      'posts_total{outcome="passed"}': 3,
      'posts_total{outcome="trouble"}': 0,
      'recipients_total{outcome="sent"}': 2,
      'recipients_total{outcome="deferred"}': 1,
      'recipients_total{outcome="failed"}': 2,
      'recipient_deferrals_total{status="4.2.2"}': 1,
      'recipient_failures_total{status="5.1.1"}': 1,
      // A server may not make up as many series as it likes.
      'recipient_failures_total{status="5.0.0"}': 1,
      delivery_seconds_count: 2,
      endpoint_up: 1,
      drain_up: 0,
    };
    for (const [series, value] of Object.entries(expected)) {
      assert.equal(valueOf(text, series), value, series);
    }
    assert.ok((valueOf(text, 'oldest_queued_timestamp_seconds') ?? 0) > 1.7e9);
    assert.ok((valueOf(text, 'spool_free_bytes') ?? 0) > 0);
    assert.doesNotMatch(text, /@|example/);
  },
);

function totals(text: string): string[] {
  const found = text.match(/^\S+_(?:total|bucket|sum|count)\b.*$/gm) ?? [];
  return found.filter((line) => !line.includes('queue_age'));
}

test('counters never decrease: not when an operator sends again what had failed, and not by a repair', async (t) => {
  const road = await usedQueue(t);
  const [failed] = await road.messages('--state', 'failed');
  const spool = new Spool(road.spool, 'operator');
  assert.equal(operate(spool, String(failed?.['id']), { verb: 'retry', now: spool.now() }), 'done');
  spool.db.prepare(`UPDATE counter SET messages = messages + 1 WHERE name = 'held'`).run();
  spool.close();
  const before = await metricsOf(road);
  assert.equal(valueOf(before, 'messages{state="failed"}'), 0);
  assert.equal(valueOf(before, 'messages_total{event="failed"}'), 1);
  assert.equal((await road.queue('fsck')).code, 1);
  const after = await metricsOf(road);
  assert.deepEqual(totals(after), totals(before));
  assert.equal(valueOf(after, 'messages{state="held"}'), 0);
});

test('the ages of what waits are counted as messages come, go, are held and released', async (t) => {
  const road = new Road(t);
  const now = Date.now();
  const minutesAgo = (minutes: number) => ({ queuedAt: now - minutes * 60_000 });
  const ids = [1, 7, 7, 200, 4000].flatMap((age) => handIn(road.spool, [{}], minutesAgo(age)));
  const spool = new Spool(road.spool, 'operator');
  t.after(() => spool.close());
  const ages = () => {
    const text = metricsText(spoolMetrics(spoolView(spool)), 'prometheus');
    const of = (le: string) => valueOf(text, `queue_age_seconds_bucket{le="${le}"}`) ?? -1;
    return ['300.0', '600.0', '9600.0', '19200.0', '153600.0', '+Inf'].map(of);
  };
  assert.deepEqual(ages(), [1, 3, 3, 4, 4, 5]);
  const act = (id: string | undefined, verb: 'hold' | 'release' | 'delete') =>
    assert.equal(operate(spool, id ?? '', { verb, now: spool.now() }), 'done');
  act(ids[1], 'hold');
  act(ids[3], 'delete');
  assert.deepEqual(ages(), [1, 2, 2, 2, 2, 3]);
  act(ids[1], 'release');
  assert.deepEqual(ages(), [1, 3, 3, 3, 3, 4]);
  assert.deepEqual(inspectSpool(spool.db), []);
  const text = metricsText(spoolMetrics(spoolView(spool)), 'openmetrics');
  assert.match(text, /^# TYPE appengine_mailer_queue_age_seconds gaugehistogram$/m);
  assert.equal(valueOf(text, 'queue_age_seconds_gcount'), 4);
  const sum = valueOf(text, 'queue_age_seconds_gsum') ?? 0;
  assert.ok(Math.abs(sum - 4015 * 60) < 4 * 60, `${sum}`);

  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.deepEqual(ages(), [0, 0, 0, 0, 0, 0]);
  spool.db.exec('INSERT INTO waiting VALUES (1, 1)');
  assert.deepEqual(inspectSpool(spool.db), ['the ages of what waits are not counted as they are']);
});

test('queue metrics --openmetrics, and --output into a file: whole or not at all', async (t) => {
  const road = await usedQueue(t);
  assert.match(await metricsOf(road, '--openmetrics'), /\n# EOF\n$/);
  const file = join(road.folder, 'queue.prom');
  writeFileSync(file, 'old', { mode: 0o640 });
  assert.equal(await metricsOf(road, '--output', file), '');
  assert.match(readFileSync(file, 'utf8'), /^# HELP .*\n(?:.*\n)*$/);
  assert.equal(statSync(file).mode & 0o777, 0o640);
  assert.ok(!readdirSync(road.folder).some((name) => name.includes('.new')));
  const lost = await road.queue('metrics', '--output', join(road.folder, 'no', 'queue.prom'));
  assert.equal(lost.code, 1);
  assert.match(lost.stderr, /cannot write .*ENOENT/);
});

test('the cost of metrics does not grow with the queue: below 50 ms with a million messages (law 11)', (t) => {
  const spool = freshSpool(t);
  const rows = LONG ? 1_000_000 : 30_000;
  fillSpool(spool, rows, { now: Date.now() });
  const tookMs = Array.from({ length: 9 }, () => {
    const began = performance.now();
    metricsText(spoolMetrics(spoolView(spool)), 'prometheus');
    return performance.now() - began;
  }).toSorted((one, two) => one - two);
  const median = tookMs[4] ?? Infinity;
  figures(t, 'metrics of a spool', { messages: rows, medianMs: Number(median.toFixed(2)) });
  assert.ok(median < 50, `${median} ms`);
});
