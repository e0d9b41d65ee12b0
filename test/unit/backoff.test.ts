import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  endpointBackoffMs,
  longestBackoffMs,
  messageBackoffMs as backoffMs,
} from '../../src/drain/backoff.ts';
import { limits } from '../../src/limits.ts';
import { holds } from '../support/holds.ts';
import { usualRetryTimes } from '../support/retry-times.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const LAST = 1 - Number.EPSILON;

function messageBackoffMs(deferrals: number, random: number): number {
  return backoffMs(deferrals, random, usualRetryTimes);
}

const count = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.constantFrom(31, 32, 64, 1023, 1024, 2 ** 31, Number.MAX_SAFE_INTEGER, Infinity),
);
const random = fc.oneof(fc.constantFrom(0, LAST), fc.double({ min: 0, max: LAST, noNaN: true }));

test('the endpoint is left alone for 1 s, 2 s, 4 s … 60 s, and up to a quarter more', () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8].map((failures) =>
    endpointBackoffMs(failures, 0, undefined),
  );
  assert.deepEqual(
    waits,
    [1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * SECOND),
  );
  assert.equal(Math.round(endpointBackoffMs(1, LAST, undefined)), 1.25 * SECOND);
  assert.equal(Math.round(endpointBackoffMs(99, LAST, undefined)), 75 * SECOND);
});

test('a message waits 30 s, 1 min, 2 min … 30 min, ± 20 %', () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8].map((deferrals) => messageBackoffMs(deferrals, 0.5));
  assert.deepEqual(
    waits,
    [0.5, 1, 2, 4, 8, 16, 30, 30].map((minutes) => minutes * MINUTE),
  );
  assert.equal(messageBackoffMs(1, 0), 24 * SECOND);
  assert.equal(messageBackoffMs(1, LAST), 36 * SECOND);
  assert.equal(messageBackoffMs(99, 0), 24 * MINUTE);
  assert.equal(messageBackoffMs(99, LAST), 36 * MINUTE);
});

test('the first and the longest wait are those of the options, ± 20 %', () => {
  const times = { firstWaitMs: 3 * SECOND, longestWaitMs: 10 * SECOND };
  const waits = [1, 2, 3, 99].map((deferrals) => backoffMs(deferrals, 0.5, times));
  assert.deepEqual(waits, [3 * SECOND, 6 * SECOND, 10 * SECOND, 10 * SECOND]);
  assert.equal(longestBackoffMs({ longestWaitMs: 60 * MINUTE }), 72 * MINUTE);
  assert.equal(longestBackoffMs(times), limits.retryAfterMaxMs, 'a Retry-After may be longer');
});

// maddy #678: a factor that was no whole number broke the sequence.
test('for the same chance a later wait is never shorter, and no count is too large', (t) => {
  holds(
    t,
    fc.property(count, count, random, (one, two, chance) => {
      const [earlier, later] = one < two ? [one, two] : [two, one];
      for (const waitMs of [messageBackoffMs, endpointOf]) {
        assert.ok(waitMs(earlier, chance) <= waitMs(later, chance));
      }
    }),
    1000,
  );
});

test('every wait is finite and within its bounds', (t) => {
  holds(
    t,
    fc.property(fc.oneof(count, fc.integer({ min: -3, max: 0 })), random, (tries, chance) => {
      const own = messageBackoffMs(tries, chance);
      assert.ok(Number.isSafeInteger(own));
      assert.ok(own >= 24 * SECOND && own <= 36 * MINUTE, String(own));
      const endpoint = endpointOf(tries, chance);
      assert.ok(endpoint >= SECOND && endpoint <= 75 * SECOND, String(endpoint));
    }),
    1000,
  );
});

test('a Retry-After is waited for in full, up to ten minutes, and never shortens a wait', (t) => {
  const asked = fc.oneof(
    fc.nat(20 * MINUTE),
    fc.constantFrom(0, limits.retryAfterMaxMs, Number.MAX_SAFE_INTEGER, Infinity),
  );
  holds(
    t,
    fc.property(count, random, asked, (failures, chance, retryAfterMs) => {
      const wait = endpointBackoffMs(failures, chance, retryAfterMs);
      const expected = Math.max(endpointOf(failures, chance), Math.min(retryAfterMs, 10 * MINUTE));
      assert.equal(wait, expected);
    }),
    1000,
  );
});

function endpointOf(failures: number, chance: number): number {
  return endpointBackoffMs(failures, chance, undefined);
}
