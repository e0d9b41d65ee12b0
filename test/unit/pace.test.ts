import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { limits } from '../../src/limits.ts';
import { dayQuota, parsePace, quotaText } from '../../src/proxy/pace/quota.ts';
import { Spending } from '../../src/proxy/pace/spending.ts';
import { holds } from '../support/holds.ts';

const DAY_MS = 86_400_000;

test('a pace is a number of recipients in a second, a minute or an hour', () => {
  assert.deepEqual(parsePace('14/s'), { recipients: 14, windowMs: 1000 });
  assert.deepEqual(parsePace('30/min'), { recipients: 30, windowMs: 60_000 });
  assert.deepEqual(parsePace('500/h'), { recipients: 500, windowMs: 3_600_000 });
  for (const text of ['14/s', '30/min', '500/h']) {
    assert.equal(quotaText(parsePace(text)), `--pace ${text}`);
  }
  assert.equal(quotaText(dayQuota(50_000)), '--pace-day 50000');
  for (const text of ['', '14', '0/s', '-1/s', '1.5/s', '14/d', '14 /s', '1/S', '9999999999/h']) {
    assert.throws(() => parsePace(text), /a second, a minute or an hour, such as 14\/s/);
  }
});

/** A quota, and at which times a client wants how much. */
const wishes = fc.record({
  recipients: fc.integer({ min: 1, max: 50 }),
  windowMs: fc.constantFrom(1000, 60_000, DAY_MS),
  steps: fc.array(
    fc.record({
      afterShare: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1.5, noNaN: true })),
      wanted: fc.integer({ min: 1, max: 100 }),
    }),
    { maxLength: 60 },
  ),
});

test('no window of a quota, wherever it begins, has more than the quota, and each moment is used in time (law 12)', (t) => {
  holds(
    t,
    fc.property(wishes, ({ recipients, windowMs, steps }) => {
      const quota = { recipients, windowMs };
      const spent: { at: number; count: number }[] = [];
      let [now, text] = [30 * DAY_MS, ''];
      for (const { afterShare, wanted } of steps) {
        now += Math.round(afterShare * windowMs);
        const spending = new Spending(text, [quota], now);
        const count = Math.min(wanted, spending.left);
        spending.spend(count);
        spent.push({ at: now, count });
        text = spending.toString();
        const inWindow = spent.filter(({ at }) => at > now - windowMs);
        assert.ok(inWindow.reduce((sum, each) => sum + each.count, 0) <= recipients);

        // What it says of the time to come is true, and not later than needed by more than a step.
        const waitMs = spending.inMs(1);
        const left = (at: number) => new Spending(text, [quota], at).left;
        assert.ok(waitMs >= 0 && waitMs <= windowMs * (1 + 1 / limits.paceBuckets) + 1);
        assert.ok(left(now + waitMs) >= 1);
        if (waitMs > 0) assert.equal(left(now + waitMs - 1), 0);
      }
    }),
  );
});

test('of several quotas each counts, and the one that lasts longest is named', () => {
  const quotas = [parsePace('10/s'), dayQuota(25)];
  const now = 30 * DAY_MS;
  const first = new Spending('', quotas, now);
  assert.deepEqual([first.left, first.most, first.inMs(10)], [10, 10, 0]);
  first.spend(10);
  assert.deepEqual([first.left, first.tightest], [0, quotas[0]]);
  const later = new Spending(first.toString(), quotas, now + 2000);
  assert.equal(later.left, 10);
  later.spend(10);
  const last = new Spending(later.toString(), quotas, now + 4000);
  assert.equal(last.left, 5);
  last.spend(5);
  assert.deepEqual([last.left, last.tightest], [0, quotas[1]]);
  assert.ok(last.inMs(1) > DAY_MS - 4000);
  assert.equal(new Spending(last.toString(), quotas, now + DAY_MS * 1.02).left, 10);
  // Without the quota of the day its spending is kept, for when it is asked for again.
  const without = new Spending(last.toString(), [parsePace('10/s')], now + 8000);
  assert.equal(without.left, 10);
  assert.equal(new Spending(without.toString(), quotas, now + 8000).left, 0);
});

test('what is given back can be spent again, and no more than was spent', () => {
  const quotas = [dayQuota(10)];
  const now = 30 * DAY_MS;
  const spending = new Spending('', quotas, now);
  spending.spend(10);
  spending.giveBack(4, now);
  assert.equal(spending.left, 4);
  spending.giveBack(100, now);
  assert.equal(spending.left, 10);
  spending.giveBack(5, now - DAY_MS);
  assert.equal(spending.left, 10);
});

test('a time of the ledger that went back stops nothing for ever, and damage counts as nothing spent (law 12)', () => {
  const quotas = [dayQuota(10)];
  const late = new Spending('', quotas, 900 * DAY_MS);
  late.spend(10);
  const early = new Spending(late.toString(), quotas, 30 * DAY_MS);
  assert.equal(early.left, 0);
  assert.ok(early.inMs(1) <= DAY_MS * 1.01 + 1);
  const after = new Spending(early.toString(), quotas, 30 * DAY_MS + early.inMs(1));
  assert.equal(after.left, 10);
  for (const text of [
    'x',
    'null',
    '7',
    '{"86400000":7}',
    '{"86400000":[[1],["1",2],[1,-2],[1,1e300]]}',
  ]) {
    assert.equal(new Spending(text, quotas, 30 * DAY_MS).left, 10, text);
  }
});
