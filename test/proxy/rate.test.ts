import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { retryLater, slower } from '../../src/proxy/http/reply.ts';
import { parseRate, RateLimit } from '../../src/proxy/policy/rate-limit.ts';
import { formPost } from '../support/form-post.ts';
import { holds } from '../support/holds.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

const key = { name: '', secret: Buffer.from('a key') };

test('after a pause there are N posts at once, then one each Nth of a minute', () => {
  const rate = new RateLimit(3);
  assert.deepEqual(
    [0, 0, 0, 0].map((now) => rate.take(key, now)),
    [0, 0, 0, 20_000],
  );
  assert.equal(rate.take({ ...key, secret: Buffer.from('another') }, 0), 0);
  assert.equal(rate.take(key, 15_000), 5000);
  assert.equal(rate.take(key, 20_000), 0);
  assert.equal(rate.take(key, 20_000), 20_000);
  assert.deepEqual(
    [0, 0, 0, 0].map((more) => rate.take(key, 500_000 + more)),
    [0, 0, 0, 20_000],
  );
});

test('a client that waits as long as it is told may post, and never more than N at once and N a minute', (t) => {
  const steps = fc.array(fc.nat(40_000), { maxLength: 60 });
  holds(
    t,
    fc.property(fc.integer({ min: 1, max: 500 }), steps, (perMinute, pauses) => {
      const rate = new RateLimit(perMinute);
      let [now, taken] = [0, 0];
      for (const pause of pauses) {
        now += pause;
        const waitMs = rate.take(key, now);
        if (waitMs > 0) {
          now += waitMs;
          assert.equal(rate.take(key, now), 0);
        }
        taken += 1;
        assert.ok(taken <= perMinute + (now * perMinute) / 60_000 + 0.1);
      }
    }),
  );
});

test('--rate: 429 with Retry-After, of either version, for that key alone; probes are free', async (t) => {
  const road = new Road(t);
  const env = { GMAIL_SECRET_KEYS: 'one\ntwo\nthree', GMAIL_SECRET_KEY: '' };
  await road.proxy(['--rate', '2/min', '--backend', 'discard'], env);
  const id = 'an-id';
  const post = async (more: object = {}) => signedPost(road.address, { key: 'one', id, ...more });
  const probe = { recipients: [], bytes: '' };
  for (const _ of [1, 2, 3]) assert.equal((await post(probe)).status, 200);
  assert.equal((await post()).status, 200);
  assert.equal((await formPost(road.address, { key: 'one' })).status, 204);

  const v2 = await post();
  assert.equal(v2.status, 429);
  assert.ok(v2.signedBy('one', id));
  const v1 = await formPost(road.address, { key: 'one' });
  assert.deepEqual([v1.status, v1.body.toString()], [429, 'more than 2 posts a minute']);
  for (const { headers } of [v1, v2]) {
    const seconds = Number(headers['retry-after']);
    assert.ok(seconds > 0 && seconds <= 30, String(seconds));
  }
  assert.equal((await post(probe)).status, 200);
  assert.equal((await post({ key: 'two' })).status, 200);
  // A wrong signature takes nothing from anybody.
  for (const _ of [1, 2, 3])
    await formPost(road.address, { key: 'three', fields: { signature: 'x' } });
  assert.equal((await formPost(road.address, { key: 'three' })).status, 204);
});

test('--rate takes a number a minute, or 78', () => {
  assert.equal(parseRate('60/min').perMinute, 60);
  for (const none of ['', '60', '0/min', '-1/min', '1.5/min', '60/s', '60/minute', '1e3/min']) {
    assert.throws(() => parseRate(none), { name: 'ValueError' }, none);
  }
});

test('Retry-After is whole seconds, rounded up (RFC 9110 10.2.3)', () => {
  for (const reply of [slower('x', 1500), retryLater('x', 1500)]) {
    assert.deepEqual(reply.headers, { 'retry-after': '2' });
  }
});
