import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { Endpoint, type PostInFlight } from '../../src/drain/endpoint.ts';
import { limits } from '../../src/limits.ts';
import { holds } from '../support/holds.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** Begins as many posts as there is room for. */
function fill(endpoint: Endpoint, now = 0): PostInFlight[] {
  const posts: PostInFlight[] = [];
  while (endpoint.capacity(now) > 0) posts.push(endpoint.begin(now));
  return posts;
}

/** A round trip in which every post that may be begun passes; returns how many these were. */
function passAll(endpoint: Endpoint, now: number): number {
  const posts = fill(endpoint, now);
  for (const post of posts) {
    endpoint.postPassed(now, 0);
    post.end();
  }
  return posts.length;
}

function passOne(endpoint: Endpoint, now: number): void {
  const post = endpoint.begin(now);
  endpoint.postPassed(now, 0);
  post.end();
}

test('one post goes first; then the posts in flight double with each round trip, up to 256', () => {
  const endpoint = new Endpoint();
  const rounds = Array.from({ length: 10 }, (_, now) => passAll(endpoint, now));
  assert.deepEqual(rounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256]);
});

test('while it is down nothing may be begun, also when its time is up, until a probe passes', () => {
  const endpoint = new Endpoint();
  passAll(endpoint, 0);
  const wait = endpoint.trouble(0, 0, undefined);
  assert.equal(wait, SECOND);
  assert.equal(endpoint.downUntil, SECOND);
  assert.equal(endpoint.capacity(0), 0);
  endpoint.probePassed();
  assert.equal(endpoint.downUntil, undefined);
  assert.equal(endpoint.capacity(0), 1, 'the ramp begins anew');
});

test('a probe does not reset the count of failures, a post does', () => {
  const endpoint = new Endpoint();
  const waits: (number | undefined)[] = [];
  for (let turn = 0, now = 0; turn < 8; turn += 1) {
    waits.push(endpoint.trouble(now, 0, undefined));
    now = endpoint.downUntil ?? NaN;
    endpoint.probePassed();
  }
  assert.deepEqual(
    waits,
    [1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * SECOND),
  );
  assert.equal(endpoint.failures, 8);
  endpoint.postPassed(HOUR, 0);
  assert.equal(endpoint.failures, 0);
  assert.equal(endpoint.trouble(HOUR, 0, undefined), SECOND);
});

test('a probe that fails counts as well, and the waiting starts from its end', () => {
  const endpoint = new Endpoint();
  endpoint.trouble(0, 0, undefined);
  assert.equal(endpoint.trouble(1500, 0, undefined), 2 * SECOND);
  assert.equal(endpoint.downUntil, 1500 + 2 * SECOND);
  assert.equal(endpoint.failures, 2);
});

test('of posts that fail together only the first counts; a Retry-After among them is heeded', () => {
  const endpoint = new Endpoint();
  for (let round = 0; round < 6; round += 1) passAll(endpoint, 0);
  const posts = fill(endpoint);
  for (const [place, post] of posts.entries()) {
    post.trouble(10 + place, 0, undefined);
    post.end();
  }
  assert.equal(endpoint.failures, 1);
  assert.equal(endpoint.downUntil, 10 + SECOND);
  assert.equal(endpoint.trouble(100, 0, 90 * SECOND), undefined);
  assert.equal(endpoint.downUntil, 100 + 90 * SECOND);
  assert.equal(endpoint.trouble(110, 0, 5 * SECOND), undefined);
  assert.equal(endpoint.downUntil, 100 + 90 * SECOND, 'a shorter one does not shorten it');
  endpoint.trouble(120, 0, HOUR);
  assert.equal(endpoint.downUntil, 120 + limits.retryAfterMaxMs);
});

test('a post that passes late ends the outage', () => {
  const endpoint = new Endpoint();
  endpoint.trouble(0, 0, HOUR);
  endpoint.postPassed(10, 0);
  assert.equal(endpoint.downUntil, undefined);
  assert.ok(endpoint.capacity(0) > 0);
});

test('posts begun before an outage do not take up the ramp after it, nor free it twice', () => {
  const endpoint = new Endpoint();
  for (let round = 0; round < 4; round += 1) passAll(endpoint, 0);
  const stragglers = fill(endpoint);
  assert.equal(stragglers.length, 16);
  endpoint.trouble(0, 0, undefined);
  endpoint.probePassed();
  assert.equal(endpoint.capacity(0), 1);
  const post = endpoint.begin(0);
  assert.equal(endpoint.capacity(0), 0);
  for (const straggler of stragglers) straggler.end();
  assert.equal(endpoint.capacity(0), 0, 'the one post of this ramp is still in flight');
  post.end();
  assert.equal(endpoint.capacity(0), 1);
});

test('a post begun before an outage that fails after it is no second outage', () => {
  const endpoint = new Endpoint();
  passAll(endpoint, 0);
  const [first, straggler] = fill(endpoint);
  assert.equal(first?.trouble(0, 0, undefined), SECOND);
  endpoint.probePassed();
  assert.equal(straggler?.trouble(10 * SECOND, 0, 60 * SECOND), undefined);
  assert.deepEqual(
    [endpoint.failures, endpoint.downUntil, endpoint.capacity(0)],
    [1, undefined, 1],
  );
});

test('whatever happens, there is room for at most 256, none while down, and some in the end', (t) => {
  const begins = ['begin', 'begin', 'begin'] as const;
  const event = fc.constantFrom(...begins, 'pass', 'fail', 'retry after', 'probe', 'slower');
  holds(
    t,
    fc.property(fc.array(event, { maxLength: 300 }), (events) => {
      const endpoint = new Endpoint();
      const inFlight: PostInFlight[] = [];
      for (const [turn, each] of events.entries()) {
        const now = turn * 500;
        if (each === 'begin' && endpoint.capacity(now) > 0) inFlight.push(endpoint.begin(now));
        if (each === 'slower') inFlight[0]?.slowDown(now, 5 * SECOND);
        if (each === 'pass') endpoint.postPassed(now, 0);
        if (each === 'fail') endpoint.trouble(now, 0.5, undefined);
        if (each === 'retry after') endpoint.trouble(now, 0.5, 30 * SECOND);
        if (each === 'probe') endpoint.probePassed();
        else if (each !== 'begin') inFlight.shift()?.end();
        const room = endpoint.capacity(now);
        assert.ok(room >= 0 && room <= limits.inFlight, String(room));
        if (endpoint.downUntil !== undefined) assert.equal(room, 0);
        else if (room === 0) assert.ok(endpoint.capacityInMs(now) > 0);
      }
      for (const post of inFlight) post.end();
      endpoint.probePassed();
      const room = endpoint.capacity(HOUR);
      assert.ok(room > 0 && room <= limits.inFlight, String(room));
    }),
  );
});

test('passedSince tells whether a post passed, not a probe, after a time', () => {
  const endpoint = new Endpoint();
  endpoint.probePassed();
  assert.equal(endpoint.passedSince(-SECOND), false);
  endpoint.postPassed(100, 0);
  assert.equal(endpoint.passedSince(99), true);
  assert.equal(endpoint.passedSince(100), false);
});

test('a fault is told at once, then hourly, each for itself, and at once again after a post', () => {
  const endpoint = new Endpoint();
  const told = (remedy: string, now: number) => endpoint.shouldReport(remedy, now);
  assert.equal(told('the key', 0), true);
  assert.equal(told('the key', HOUR - 1), false);
  assert.equal(told('the key', HOUR), true);
  assert.equal(told('the key', HOUR + 1), false);
  assert.equal(told('the DNS', HOUR + 2), true, 'another fault');
  endpoint.probePassed();
  assert.equal(told('the DNS', HOUR + 3), false, 'a probe says nothing of posts');
  endpoint.postPassed(HOUR + 4, 0);
  assert.equal(told('the DNS', HOUR + 5), true);
});

test('a post that is slow holds up no other, until the proxy asks for fewer (law 13)', () => {
  const endpoint = new Endpoint();
  endpoint.begin(0);
  assert.deepEqual([endpoint.capacity(999), endpoint.capacityInMs(999)], [0, 1]);
  assert.equal(endpoint.capacity(1000), 1);
  const posts = Array.from({ length: 9 }, (_, second) => endpoint.begin(1000 * (second + 1)));
  assert.equal(posts[8]?.slowDown(10_000, 2 * SECOND), 5, 'half of those in flight');
  assert.deepEqual([endpoint.capacity(20_000), endpoint.capacityInMs(20_000)], [0, Infinity]);
  for (const post of posts.slice(0, 6)) post.end();
  assert.deepEqual(
    [endpoint.capacity(11_999), endpoint.capacityInMs(11_999)],
    [0, 1],
    'not before the time',
  );
  assert.equal(endpoint.capacity(12_000), 1);
});

test('posts that began before the limit was halved do not halve it again; each that passes adds one', () => {
  const endpoint = new Endpoint();
  for (let round = 0; round < 6; round += 1) passAll(endpoint, 0);
  const posts = fill(endpoint);
  assert.equal(posts.length, 64);
  assert.deepEqual(
    posts.slice(0, 3).map((post) => post.slowDown(100, undefined)),
    [32, 32, 32],
  );
  for (const post of posts) post.end();
  assert.equal(endpoint.capacity(100), 32);
  const [passed] = fill(endpoint, 200);
  endpoint.postPassed(200, 0);
  passed?.end();
  assert.equal(endpoint.capacity(200), 2, 'one ended, and one more may be begun');
  const [late] = fill(endpoint, 300);
  assert.equal(late?.slowDown(400, undefined), 16);
  for (let times = 0; times < 9; times += 1) endpoint.begin(500 + times).slowDown(501 + times, 0);
  const alone = new Endpoint();
  assert.equal(alone.begin(0).slowDown(1, undefined), 2, 'one slow post would hold up all others');
  assert.equal(alone.downUntil, undefined, 'that is no outage');
});

test('posts that break halve how many may be in flight, down to one and never to none', () => {
  const endpoint = new Endpoint();
  for (let round = 0; round < 6; round += 1) passAll(endpoint, 0);
  const capacities = Array.from({ length: 9 }, () => {
    endpoint.halveConcurrency();
    return endpoint.capacity(0);
  });
  assert.deepEqual(capacities, [32, 16, 8, 4, 2, 1, 1, 1, 1]);
  const post = endpoint.begin(0);
  endpoint.halveConcurrency();
  assert.equal(endpoint.capacity(0), 0, 'the one post is in flight');
  post.end();
  assert.equal(endpoint.capacity(0), 1);
  endpoint.postPassed(0, 0);
  assert.equal(endpoint.capacity(0), 2, 'it grows again');
});

test('fewer posts during a measurement stay fewer after it: the limit does not return to what it was before', () => {
  for (const halve of [
    (endpoint: Endpoint) => endpoint.halveConcurrency(),
    (endpoint: Endpoint, now: number) =>
      fill(endpoint, now).forEach((post, nth) => {
        if (nth === 0) post.slowDown(now, undefined);
        post.end();
      }),
  ]) {
    const endpoint = new Endpoint();
    for (let round = 0; round < 9; round += 1) passAll(endpoint, 0);
    assert.equal(endpoint.capacity(0), 256);
    const now = limits.measureEveryMs;
    while (endpoint.capacity(now) > limits.inFlightMin) passOne(endpoint, now);
    halve(endpoint, now);
    assert.equal(endpoint.capacity(now), limits.inFlightMin / 2);
    for (let count = 1; count <= limits.inFlightMin; count += 1) {
      passOne(endpoint, now);
      assert.ok(endpoint.capacity(now) <= limits.inFlightMin / 2 + count);
    }
  }
});

test('more posts in flight than the new limit leave no capacity, and never less than none', () => {
  const endpoint = new Endpoint();
  for (let round = 0; round < 4; round += 1) passAll(endpoint, 0);
  const posts = fill(endpoint);
  endpoint.halveConcurrency();
  assert.equal(endpoint.capacity(0), 0);
  for (const post of posts.slice(0, 9)) post.end();
  assert.equal(endpoint.capacity(0), 1, '7 of 8 are in flight');
});

test('a proxy that asks for fewer posts and lets none pass for an hour has an outage (law 5)', () => {
  const endpoint = new Endpoint();
  const [post, other] = [endpoint.begin(0), endpoint.begin(0)];
  assert.equal(post.slowDown(SECOND, undefined), 2);
  assert.equal(post.slowDown(SECOND + limits.slowerMaxMs, undefined), 2);
  assert.equal(post.slowDown(SECOND + limits.slowerMaxMs + 1, undefined), undefined);
  endpoint.postPassed(2 * limits.slowerMaxMs, 0);
  other.end();
  assert.equal(post.slowDown(3 * limits.slowerMaxMs, undefined), 3, 'one passed meanwhile');
});

test('that the proxy asks for fewer posts is reported at once, and then now and then', () => {
  const endpoint = new Endpoint();
  const { slowerRepeatMs } = limits;
  const times = [0, 1, slowerRepeatMs - 1, slowerRepeatMs, 2 * slowerRepeatMs - 1];
  const reported = times.map((now) => endpoint.shouldReportSlower(now));
  assert.deepEqual(reported, [true, false, false, true, false]);
});

test('an operator who has the proxy asked now ends a wait, and one from before the drain started does not', () => {
  const endpoint = new Endpoint();
  endpoint.trouble(0, 0, undefined);
  const waitMs = endpoint.trouble(SECOND, 0, 60 * SECOND) ?? 0;
  assert.equal(endpoint.downUntil, SECOND + waitMs);
  endpoint.heedCalls(7, 2 * SECOND);
  endpoint.heedCalls(7, 3 * SECOND);
  assert.equal(endpoint.downUntil, SECOND + waitMs, 'nobody has called since');
  endpoint.heedCalls(8, 4 * SECOND);
  assert.equal(endpoint.downUntil, 4 * SECOND);
  endpoint.heedCalls(9, 5 * SECOND);
  assert.equal(endpoint.downUntil, 4 * SECOND, 'the time is up already');
});

test('the next post may begin when the oldest in flight counts as slow', () => {
  const endpoint = new Endpoint();
  passAll(endpoint, 0);
  endpoint.begin(100);
  endpoint.begin(200);
  assert.equal(endpoint.capacity(200), 0);
  assert.equal(endpoint.capacityInMs(200), 100 + limits.slowPostMs - 200);
});
