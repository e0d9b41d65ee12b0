import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../src/limits.ts';
import { figures, LONG } from '../support/figures.ts';
import { handIn } from '../support/hand-in.ts';
import { hostileAnswers, hostileDeck, type HostileAnswer } from '../support/hostile-answers.ts';
import { lookInto } from '../support/look-into.ts';
import { MovedTime } from '../support/moved-time.ts';
import { needs } from '../support/needs.ts';
import { random } from '../support/random.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const HOUR = 3_600_000;

test(
  'law 5: hours of all hostile answers there are: nothing fails, nothing is charged, less than a request a minute is made',
  { ...needs('faketime'), timeout: LONG ? 1_800_000 : 300_000 },
  async (t) => {
    const road = new Road(t);
    const time = new MovedTime(road);
    const ids = handIn(road.spool, [{}, {}, { recipients: ['a@example.org', 'b@example.org'] }]);
    // In steps that drain does not take for a suspension, after which it would wait once more.
    const stalls = (drip?: string): HostileAnswer['give'] => {
      return async ({ request: { socket } }) => {
        if (drip) socket.write('HTTP/1.1 200 OK\r\n\r\n');
        while (!socket.destroyed) {
          if (drip) socket.write(drip);
          await sleep(10); // It has reached drain, or the next has.
          time.move(limits.asleepMs * 0.9);
        }
      };
    };
    const silence: HostileAnswer = { name: 'silence', give: stalls() };
    const dripping: HostileAnswer = {
      name: 'an answer that comes byte by byte',
      give: stalls('x'),
    };
    const slow = [silence, dripping];
    const next = hostileDeck(random(t), [...slow, ...hostileAnswers]);
    const given: { name: string; at: number }[] = [];
    const proxy = await ScriptedProxy.start(t, road.key, (post) => {
      const { name, give } = next();
      given.push({ name, at: time.now() });
      return give(post);
    });
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...time.env });
    const enough = (LONG ? 20 : 2) * (slow.length + hostileAnswers.length);
    await time.pass(drain, () => given.length >= enough);

    assert.equal(given.length, enough);
    // The waits grow up to a minute, and are never shorter again; only another time is used at once.
    for (const [index, { name, at }] of given.entries()) {
      const after = given[index + 1];
      if (index < 6 || !after || name === 'a signed 401: the clock is wrong') continue;
      assert.ok(after.at - at > 59_900, `${name}: asked again after ${after.at - at} ms`);
    }
    const hours = time.aheadMs / HOUR;
    assert.ok(enough < hours * 60);
    for (const { state, attempts, recipients } of lookInto(road.spool).messages) {
      assert.deepEqual([state, attempts], ['queued', 0], drain.stderr);
      for (const each of recipients) assert.deepEqual([each.state, each.status], ['pending', null]);
    }

    proxy.script = (post) => post.accept();
    time.move(limits.retryAfterMaxMs);
    await time.passUntil(drain.says(/attempt 1: .*> sent \(/, ids.length));
    assert.equal((await drain.stop()).code, 0);
    assert.equal(lookInto(road.spool).counters.sent, ids.length);
    figures(t, 'hostile answers', { requests: enough, hours: Math.round(hours) });
  },
);

test(
  'law 5: mail that meets every hostile answer is put off for itself, other mail goes on, and only old age ends it',
  { ...needs('faketime'), timeout: LONG ? 1_800_000 : 300_000 },
  async (t) => {
    const road = new Road(t);
    const time = new MovedTime(road);
    const bad = handIn(
      road.spool,
      Array.from({ length: 5 }, () => ({ recipients: ['bad@example.org'] })),
    );
    const next = hostileDeck(random(t));
    let refused = 0;
    const proxy = await ScriptedProxy.start(t, road.key, (post) => {
      if (!bad.includes(post.id)) return post.accept();
      refused += 1;
      return next().give(post);
    });
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...time.env });

    // Somebody else sends something now and then. Each of the others may once make all wait, as asked.
    const begin = time.now();
    let good = 0;
    const othersPass = async () => {
      const [id] = handIn(road.spool, [{}]);
      const from = time.now();
      await time.passUntil(proxy.received(1, (post) => post.id === id));
      assert.ok(time.now() - from < (bad.length + 1) * limits.retryAfterMaxMs, drain.stderr);
      good += 1;
    };
    const failed = () =>
      lookInto(road.spool).messages.filter(
        ({ id, state }) => bad.includes(id) && state === 'failed',
      );
    while (time.now() - begin < (LONG ? 114 : 6) * HOUR) {
      await othersPass();
      time.move(HOUR / 4);
    }
    time.move(begin + 119 * HOUR - time.now());
    await othersPass();
    assert.deepEqual(failed(), [], 'it ended before it was five days old');

    while (failed().length < bad.length && time.now() - begin < 14 * 24 * HOUR) {
      time.move(HOUR);
      await othersPass();
    }
    const ends = failed().flatMap(({ recipients }) => recipients.map(({ status }) => status));
    assert.deepEqual(
      ends,
      bad.map(() => '5.4.7'),
    );
    await time.passUntil(drain.says(/<r@example.org> sent/, good));
    assert.equal(lookInto(road.spool).counters.sent, good);
    figures(t, 'hostile answers to some mail', { refused, others: good });
  },
);
