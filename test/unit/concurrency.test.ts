import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { afterPost, oneAtOnce, type Concurrency } from '../../src/drain/concurrency.ts';
import { limits } from '../../src/limits.ts';
import { holds } from '../support/holds.ts';
import { Random } from '../sim/random.ts';

/** A proxy so many milliseconds away (both ways), that sends so many messages at once, each in `sendMs`. */
interface Proxy {
  awayMs: number;
  places: number;
  sendMs: (now: number) => number;
}

/** Posts for so long to a proxy that is never short of messages, or has as many as `due` says. */
class Posting {
  concurrency: Concurrency = oneAtOnce;
  passed = 0;
  now = 0;
  readonly #proxy: Proxy;
  readonly #due: number;
  /** When each place is free again. */
  readonly #free: number[];
  readonly #inFlight: { beganAt: number; endsAt: number }[] = [];

  constructor(proxy: Proxy, { due = Infinity } = {}) {
    this.#proxy = proxy;
    this.#due = due;
    this.#free = Array.from({ length: proxy.places }, () => 0);
  }

  /** Goes on for so many milliseconds; returns the messages a second. */
  run(ms: number): number {
    const [end, passed] = [this.now + ms, this.passed];
    for (;;) {
      while (this.#inFlight.length < Math.min(this.#due, Math.floor(this.concurrency.limit))) {
        this.#begin();
      }
      this.#inFlight.sort((one, other) => other.endsAt - one.endsAt);
      const next = this.#inFlight.at(-1);
      if (!next || next.endsAt > end) break;
      this.now = next.endsAt;
      const facts = { beganAt: next.beganAt, now: this.now, inFlight: this.#inFlight.length };
      this.concurrency = afterPost(this.concurrency, facts);
      this.#inFlight.pop();
      this.passed += 1;
    }
    this.now = end;
    return ((this.passed - passed) * 1000) / ms;
  }

  #begin(): void {
    const { awayMs, sendMs } = this.#proxy;
    const place = this.#free.indexOf(Math.min(...this.#free));
    const starts = Math.max(this.#free[place] ?? 0, this.now + awayMs / 2);
    const ends = starts + sendMs(starts);
    this.#free[place] = ends;
    this.#inFlight.push({ beganAt: this.now, endsAt: ends + awayMs / 2 });
  }
}

const random = new Random(1);
const about = (ms: number) => () => ms * (0.5 + random.next());
/** Nine in ten take between 50 and 900 ms. */
const mostly = (others: readonly [number, number]) => () =>
  random.chance(0.1) ? random.between(...others) : random.between(50, 900);

test('far away, as many posts are in flight as the round trip needs, within three seconds', () => {
  // 2000 a second, 80 ms away: 160 are under way, and 100 wait for 50 ms.
  const posting = new Posting({ awayMs: 80, places: 1, sendMs: about(0.5) });
  posting.run(3000);
  const { limit } = posting.concurrency;
  assert.ok(limit > 160 && limit <= limits.inFlight, String(limit));
  const rate = posting.run(1000);
  assert.ok(rate > 1950, String(rate));
});

test('the posts in flight double with each round trip at first', () => {
  const posting = new Posting({ awayMs: 80, places: 300, sendMs: () => 0 });
  const seen = Array.from({ length: 9 }, () => {
    const { limit } = posting.concurrency;
    posting.run(81);
    return limit;
  });
  assert.deepEqual(seen, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
});

for (const [name, proxy, atLeast, atMost] of [
  ['a relay of 20 connections, 1 s each', { awayMs: 2, places: 20, sendMs: about(1000) }, 20, 60],
  ['a relay of 20 connections, 100 ms', { awayMs: 2, places: 20, sendMs: about(100) }, 20, 90],
  ['one connection, 5 s each', { awayMs: 2, places: 1, sendMs: about(5000) }, 1, 24],
  ['3000 a second, near', { awayMs: 1, places: 1, sendMs: about(1 / 3) }, 100, 220],
] as const) {
  test(`${name}: between ${atLeast} and ${atMost} posts are in flight`, () => {
    const posting = new Posting(proxy);
    posting.run(limits.measureEveryMs);
    for (let turn = 0; turn < 10; turn += 1) {
      posting.run(1000);
      const { limit, limitAfter = limit } = posting.concurrency;
      assert.ok(limitAfter >= atLeast && limitAfter <= atMost, String(limitAfter));
    }
  });
}

for (const [name, othersMs, averageMs] of [
  ['takes long by itself', [1000, 9000], 928],
  ['is refused at once', [1, 3], 428],
] as const) {
  test(`a relay of whose mail a tenth ${name} is kept busy (law 13)`, () => {
    const sendMs = mostly(othersMs);
    const posting = new Posting({ awayMs: 2, places: 20, sendMs });
    posting.run(60_000);
    const rate = posting.run(300_000);
    // What 20 connections can do.
    assert.ok(rate > 0.95 * ((20 * 1000) / averageMs), String(rate));
  });
}

test('a relay that has become slower for good is kept busy again when its old times are forgotten', () => {
  let ms = 50;
  const posting = new Posting({ awayMs: 2, places: 20, sendMs: () => ms });
  posting.run(10_000);
  ms = 800;
  posting.run(2 * limits.measureEveryMs);
  const rate = posting.run(60_000);
  assert.ok(rate > 0.95 * (20 / 0.8), String(rate));
});

test('what was never in flight is no reason for more: a trickle leaves the limit near itself', () => {
  const posting = new Posting({ awayMs: 80, places: 300, sendMs: () => 1 }, { due: 5 });
  posting.run(600_000);
  assert.ok(posting.concurrency.limit <= 10, String(posting.concurrency.limit));
});

test('whatever the round trips are, there is room for one post at least, and for 256 at most', (t) => {
  const post = fc.record({
    afterMs: fc.double({ min: 0, max: 100_000, noNaN: true }),
    tookMs: fc.double({ min: 0, max: 100_000, noNaN: true }),
    inFlight: fc.integer({ min: 0, max: limits.inFlight }),
  });
  holds(
    t,
    fc.property(fc.array(post, { maxLength: 200 }), (posts) => {
      let [concurrency, now] = [oneAtOnce, 0];
      for (const { afterMs, tookMs, inFlight } of posts) {
        now += afterMs;
        concurrency = afterPost(concurrency, { beganAt: now - tookMs, now, inFlight });
        const { limit } = concurrency;
        assert.ok(limit >= 1 && limit <= limits.inFlight, String(limit));
      }
    }),
  );
});
