import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import type { Attempt } from '../../src/drain/attempt.ts';
import { decideOutcome } from '../../src/drain/decide-outcome.ts';
import { limits } from '../../src/limits.ts';
import { catchUp } from '../../src/spool/catch-up.ts';
import { claim, nextDueAt, recoverClaimed } from '../../src/spool/claim.ts';
import { outageMs, recordDown, recordPassed } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { keepHouse } from '../../src/spool/keep-house.ts';
import { findMessages } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import { migrations } from '../../src/spool/schema.ts';
import { shownTime } from '../../src/sqlite/shown-time.ts';
import { Spool, spoolFile } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { holds } from '../support/holds.ts';
import { usualRetryTimes } from '../support/retry-times.ts';
import { scratch } from '../support/scratch.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const room = { messages: 9, bytes: 1e6, bypassBytes: 0 };

/** Clocks of this process that go on only when the test says so. */
class Clocks {
  wall = Date.now();
  monotonic = 0;

  constructor(t: TestContext) {
    t.mock.method(Date, 'now', () => this.wall);
    t.mock.method(performance, 'now', () => this.monotonic);
  }

  pass(ms: number): void {
    this.wall += Math.floor(ms);
    this.monotonic += ms;
  }

  /** What a reboot does to the monotonic clock. */
  reboot(): void {
    this.monotonic = 7;
  }
}

test('law 12: observed time goes on by the monotonic clock alone, and is stored with each commit of drain', (t) => {
  const clocks = new Clocks(t);
  const spool = freshSpool(t);
  const others = new Spool(spool.folder, 'operator');
  t.after(() => others.close());
  const start = spool.now();
  assert.equal(start, 30 * DAY, '0 is long ago');
  for (const stepMs of [6 * DAY, -400 * DAY, 20 * DAY]) clocks.wall += stepMs;
  assert.equal(spool.now(), start);
  clocks.pass(HOUR + 0.9);
  assert.equal(spool.now(), start + HOUR);
  assert.equal(others.now(), start, 'not written down yet');
  keepHouse(spool, spool.now());
  assert.equal(others.now(), start + HOUR);
  assert.throws(() =>
    spool.transaction(() => {
      throw new Error('rolled back');
    }),
  );
  clocks.pass(HOUR);
  others.transaction(() => {});
  assert.equal(others.now(), start + HOUR, 'only drain writes it down');

  // A program that dies loses the time that it has not written down; time that no program saw pass does not count.
  clocks.pass(20 * DAY);
  clocks.reboot();
  const next = new Spool(spool.folder, 'drain');
  t.after(() => next.close());
  assert.equal(next.now(), start + HOUR);
  clocks.pass(MINUTE);
  assert.equal(next.now(), start + HOUR + MINUTE);
});

test('what exim-pipe and operators store while drain has not written down the time is due at once, in order', (t) => {
  const clocks = new Clocks(t);
  const spool = freshSpool(t);
  const pipe = new Spool(spool.folder, 'pipe');
  t.after(() => pipe.close());
  const { id: held } = enqueue(pipe, handOver({ eximId: 'held' }), pipe.now());
  spool.transaction(() => claim(spool, room, spool.now()));
  recoverClaimed(spool, spool.now());
  operate(pipe, held, { verb: 'hold', now: pipe.now() });
  clocks.pass(limits.housekeepingMs);
  enqueue(pipe, handOver({ eximId: 'one' }), pipe.now());
  operate(pipe, held, { verb: 'release', now: pipe.now() });
  clocks.pass(1);
  enqueue(pipe, handOver({ eximId: 'two' }), pipe.now());
  const now = spool.now();
  const claimed = spool.transaction(() => claim(spool, room, now));
  assert.deepEqual(
    claimed.map(({ eximId, renewedAt }) => [eximId, now - renewedAt]),
    [
      ['held', limits.housekeepingMs + 1],
      ['one', 0],
      ['two', 0],
    ],
  );
});

test('a drain that starts tries what became due meanwhile, as the wall clock has it, or all; nothing is older by it', (t) => {
  const clocks = new Clocks(t);
  for (const [stepMs, due] of [
    [0, []],
    [10 * MINUTE, ['a']],
    [400 * DAY, ['a', 'b']],
    [-MINUTE, ['a', 'b']],
  ] as const) {
    const spool = freshSpool(t);
    for (const [eximId, minutes] of [
      ['a', 5],
      ['b', 30],
    ] as const) {
      const { id } = enqueue(spool, handOver({ eximId }), spool.now());
      const later = spool.now() + minutes * MINUTE;
      spool.sql('UPDATE message SET due_at = ? WHERE id = ?').run(later, id);
    }
    spool.transaction(() => {});
    clocks.wall += stepMs;
    const now = spool.now();
    catchUp(spool, now, Date.now(), 36 * MINUTE);
    const claimed = spool.transaction(() => claim(spool, room, now));
    assert.deepEqual(
      claimed.map(({ eximId }) => eximId),
      due,
      `${stepMs}`,
    );
    assert.ok(claimed.every(({ renewedAt }) => renewedAt === now));
  }
});

test('people read observed time as time of day, as well as can be said', (t) => {
  const clocks = new Clocks(t);
  const spool = freshSpool(t);
  spool.transaction(() => {});
  const now = spool.now();
  const seen = (wallNow: number) => {
    const shown = shownTime(spool, wallNow);
    return [shown.now - now, shown.wall(now + DAY) - clocks.wall, shown.wall(null)];
  };
  assert.deepEqual(seen(clocks.wall), [0, DAY, null]);
  assert.deepEqual(seen(clocks.wall + MINUTE), [MINUTE, DAY, null]);
  // No drain runs, or the clock was stepped: that time did not pass.
  const most = limits.housekeepingMs;
  assert.deepEqual(seen(clocks.wall + 20 * DAY), [most, 21 * DAY - most, null]);
  assert.deepEqual(seen(clocks.wall - 20 * DAY), [0, -19 * DAY, null]);
});

interface Act {
  do: 'pass' | 'step' | 'reboot' | 'defer' | 'refuse' | 'down' | 'up' | 'hold' | 'retry' | 'house';
  ms: number;
}

/** What becomes of a message by these acts; the wall clock is stepped, or left alone. */
function fate(clocks: Clocks, folder: string, acts: readonly Act[], steps: boolean): unknown {
  let spool = new Spool(folder, 'drain');
  const { id } = enqueue(spool, handOver(), spool.now());
  const outcome = (result: Omit<Attempt, 'message'>) => {
    spool.db.exec(`UPDATE message SET due_at = 0 WHERE state = 'queued'`);
    const now = spool.now();
    const [message] = spool.transaction(() => claim(spool, room, now));
    if (!message) return;
    const facts = { now, outageMs: outageMs(spool, now), random: 0.5 };
    const decided = decideOutcome({ message, ...result }, facts, {
      delayWarningsMs: [4 * HOUR, DAY],
      retryTimes: usualRetryTimes,
    });
    spool.transaction(() => record(spool, [decided], now));
  };
  const verdict = { recipient: 'r@example.org', status: '4.2.2', reason: 'full' };
  const diagnosis = { text: 'down', scope: 'endpoint' } as const;
  for (const act of acts) {
    if (act.do === 'pass') clocks.pass(Math.abs(act.ms));
    if (act.do === 'step' && steps) clocks.wall += act.ms;
    if (act.do === 'reboot') {
      spool.close();
      clocks.reboot();
      spool = new Spool(folder, 'drain');
      catchUp(spool, spool.now(), Date.now(), 36 * MINUTE);
      recoverClaimed(spool, spool.now());
    }
    if (act.do === 'defer') outcome({ verdicts: [verdict] });
    if (act.do === 'refuse') outcome({ verdicts: [], trouble: { scope: 'endpoint', diagnosis } });
    if (act.do === 'down') {
      spool.transaction(() => recordDown(spool, 'down', spool.now(), spool.now()));
    }
    if (act.do === 'up') spool.transaction(() => recordPassed(spool, spool.now()));
    if (act.do === 'hold') operate(spool, id, { verb: 'hold', now: spool.now() });
    if (act.do === 'retry') {
      operate(spool, id, { verb: 'retry', now: spool.now() });
      operate(spool, id, { verb: 'release', now: spool.now() });
    }
    if (act.do === 'house') while (keepHouse(spool, spool.now()));
  }
  const rows = (sql: string) => spool.db.prepare(sql).all();
  const found = [
    rows(`SELECT state, attempts, deferrals, posted_at, renewed_at, outage_ms, finished_at, warned,
      last_status FROM message`),
    rows('SELECT state, status, reason FROM recipient'),
    rows('SELECT kind FROM notice'),
    rows('SELECT down_since, outage_ms FROM endpoint'),
    rows('SELECT count(*) AS bodies FROM body'),
    rows('SELECT observed_ms FROM clock'),
  ];
  spool.close();
  return found;
}

test('law 12: what becomes of a message depends on the time that passed, and on no step of the wall clock', (t) => {
  const clocks = new Clocks(t);
  const kinds = [
    'pass',
    'step',
    'reboot',
    'defer',
    'refuse',
    'down',
    'up',
    'hold',
    'retry',
    'house',
  ];
  const act = fc.record({
    do: fc.constantFrom(...(kinds as Act['do'][])),
    ms: fc.oneof(
      fc.integer({ min: -40 * DAY, max: 40 * DAY }),
      fc.integer({ min: -2 * HOUR, max: 2 * HOUR }),
    ),
  });
  let steps = 0;
  holds(
    t,
    fc.property(fc.array(act, { minLength: 5, maxLength: 40, size: 'max' }), (acts) => {
      steps += acts.filter((each) => each.do === 'step').length;
      const [moved, still] = [true, false].map((stepped) =>
        fate(clocks, scratch(t), acts, stepped),
      );
      assert.deepEqual(moved, still);
    }),
    60,
  );
  assert.ok(steps > 0);
});

test('law 12: an older spool is brought up to date whatever the wall clock says, and all that waits has its lifetime', (t) => {
  const clocks = new Clocks(t);
  for (const queuedAgo of [0, 3 * DAY, 400 * DAY, -20 * DAY]) {
    const folder = scratch(t);
    const at = clocks.wall - queuedAgo;
    const old = openDatabase(spoolFile(folder), {
      name: 'spool',
      migrations: migrations.slice(0, 4),
      migrate: true,
      create: true,
    });
    const add =
      old.prepare(`INSERT INTO message (id, exim_id, digest, sender, size, state, queued_at, due_at,
        attempts, posted_at, renewed_at, outage_ms, finished_at)
      VALUES (lower(hex(randomblob(16))), :eximId, randomblob(32), x'73', 1, :state, :at, :dueAt, 1, :at, :at, 5, :finishedAt)`);
    add.run({ eximId: 'waits', state: 'queued', at, dueAt: at + HOUR, finishedAt: null });
    add.run({ eximId: 'failed', state: 'failed', at, dueAt: null, finishedAt: at });
    add.run({ eximId: 'sent', state: 'sent', at, dueAt: null, finishedAt: at });
    old.exec(`INSERT INTO told VALUES (x'73', ${at});
      UPDATE endpoint SET down_since = ${at}, reason = 'down', asks_at = ${at}, outage_ms = 9;
      INSERT INTO notice (message, kind, sender, due_at) SELECT seq, 'failure', x'01', ${at} FROM message WHERE state = 'failed'`);
    old.close();
    const needs = new RegExp(`has schema 4 and this program needs ${migrations.length}`);
    assert.throws(() => new Spool(folder, 'pipe'), needs);

    const spool = new Spool(folder, 'drain');
    t.after(() => spool.close());
    const now = spool.now();
    const dueInMs = (nextDueAt(spool) ?? Infinity) - now;
    assert.ok(dueInMs <= 36 * MINUTE, `due in ${dueInMs} ms`);
    assert.equal(outageMs(spool, now), 9);
    const [waits] = findMessages(spool, 'waits', now);
    assert.equal(waits?.expiresAt, now + limits.lifetimeMs);
    assert.equal(waits?.queuedAt, at, 'people read when it was queued');
    const postedAgo = spool.sql(`SELECT :now - posted_at AS ms FROM message`).get({ now });
    const known = Math.min(Math.max(0, queuedAgo), 30 * DAY);
    assert.ok(Math.abs((postedAgo as { ms: number }).ms - known) < MINUTE);
    while (keepHouse(spool, now + 4 * DAY));
    assert.equal(findMessages(spool, 'sent', now).length, 1);
    assert.equal(findMessages(spool, 'failed', now)[0]?.state, 'failed');
    const notices = spool.sql<{ dueAt: number }>('SELECT due_at AS dueAt FROM notice').all();
    assert.ok(notices.every(({ dueAt }) => dueAt >= 0 && dueAt <= now + HOUR));
    assert.deepEqual(spool.db.pragma('integrity_check'), [{ integrity_check: 'ok' }]);
  }
});

test('a spool whose clock is lost is repaired: what waits has a new lifetime, and nothing is forgotten', async (t) => {
  const { rebuildSpool } = await import('../../src/spool/recover/rebuild-spool.ts');
  const spool = freshSpool(t);
  const much = 900 * DAY;
  enqueue(spool, handOver({ eximId: 'waits' }), much);
  const { id } = enqueue(spool, handOver({ eximId: 'deleted' }), much);
  operate(spool, id, { verb: 'delete', now: much });
  spool.db.exec('UPDATE message SET posted_at = renewed_at; DELETE FROM clock');
  spool.close();
  assert.throws(() => new Spool(spool.folder, 'drain'), { code: 'SQLITE_CORRUPT' });
  assert.deepEqual(rebuildSpool(spool.folder, Date.now()).faults, ['the clock is lost']);
  const repaired = new Spool(spool.folder, 'drain');
  t.after(() => repaired.close());
  const now = repaired.now();
  assert.ok(now >= 30 * DAY && now < 30 * DAY + HOUR);
  assert.equal(findMessages(repaired, 'waits', now)[0]?.expiresAt, 35 * DAY);
  assert.equal(nextDueAt(repaired), 30 * DAY);
  while (keepHouse(repaired, now + 29 * DAY));
  assert.equal(findMessages(repaired, 'deleted', now).length, 1);
  const [waits] = findMessages(repaired, 'waits', now);
  assert.equal(
    operate(repaired, waits?.id ?? '', { verb: 'retry', now }),
    'needs-force',
    'since when is not known',
  );
});
