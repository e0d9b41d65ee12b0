import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/mail/limits.ts';
import { figures, LONG } from '../support/figures.ts';
import { handIn } from '../support/hand-in.ts';
import { hostileAnswers, hostileDeck, type HostileAnswer } from '../support/hostile-answers.ts';
import { lookInto } from '../support/look-into.ts';
import { MovedTime } from '../support/moved-time.ts';
import { needs } from '../support/needs.ts';
import { random } from '../support/random.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test(
  'law 5: hours of all hostile answers there are: nothing fails, nothing is charged, less than a request a minute is made',
  { ...needs('faketime'), timeout: 1_800_000 },
  async (t) => {
    const road = new Road(t);
    const time = new MovedTime(road);
    const ids = handIn(road.spool, [{}, {}, { recipients: ['a@example.org', 'b@example.org'] }]);
    const silence: HostileAnswer = {
      name: 'silence',
      give: () => time.move(limits.postMs + 1000),
    };
    const next = hostileDeck(random(t), [silence, ...hostileAnswers]);
    const given: string[] = [];
    const proxy = await ScriptedProxy.start(t, road.key, (post, proxy) => {
      const { name, give } = next();
      given.push(name);
      return give(post, proxy);
    });
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...time.env });
    const enough = (LONG ? 20 : 2) * (hostileAnswers.length + 1);
    await time.pass(drain, () => given.length >= enough);

    assert.equal(given.length, enough);
    const minutes = time.aheadMs / 60_000;
    assert.ok(enough < minutes, `${enough} requests in ${minutes} minutes`);
    for (const { state, attempts, recipients } of lookInto(road.spool).messages) {
      assert.deepEqual([state, attempts], ['queued', 0], drain.stderr);
      for (const each of recipients) assert.deepEqual([each.state, each.status], ['pending', null]);
    }

    proxy.script = (post, proxy) => proxy.accept(post);
    time.move(limits.retryAfterMaxMs);
    await drain.says(/attempt 1: .*> sent \(/, ids.length);
    assert.equal((await drain.stop()).code, 0);
    assert.equal(lookInto(road.spool).counters.sent, ids.length);
    figures(t, 'hostile answers', { requests: enough, hours: Math.round(minutes / 60) });
  },
);
