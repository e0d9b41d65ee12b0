import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import type { Verdict } from '../../src/wire/verdicts.ts';
import { figures, LONG } from '../support/figures.ts';
import { handIn } from '../support/hand-in.ts';
import { hostileAnswers, hostileDeck } from '../support/hostile-answers.ts';
import { lookInto } from '../support/look-into.ts';
import { MovedTime } from '../support/moved-time.ts';
import { needs } from '../support/needs.ts';
import { random } from '../support/random.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type Received } from '../support/scripted-proxy.ts';

const DAY = 86_400_000;
const BACKLOG = LONG ? 20_000 : 1000;
const put = (name: string, count: number) =>
  Array.from({ length: count }, () => ({ recipients: [`${name}@example.org`] }));

test(
  'law 5: after three days of outage the queue drains at full rate, the oldest first, without a burst, and nothing has expired',
  { ...needs('faketime'), timeout: LONG ? 1_800_000 : 300_000 },
  async (t) => {
    const road = new Road(t);
    const time = new MovedTime(road);
    const proxy = await ScriptedProxy.start(t, road.key, (post) =>
      post.answer(() => ({ status: '4.2.2', reason: 'full' })),
    );
    // One that has four days of trouble of its own behind it: three of outage must not end it.
    const [worn = ''] = handIn(road.spool, put('worn', 1));
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...time.env });
    await drain.says(/<worn@example.org> deferred/);
    time.move(4 * DAY);
    await drain.says(/attempt 2: <worn@example.org> deferred/);

    const begin = time.aheadMs;
    const next = hostileDeck(random(t));
    let asked = 0;
    const tried = new Set([worn]);
    // In the short form most answers ask for ten minutes, so that three days take fewer of them.
    const later = hostileAnswers.find(({ name }) => name === '503 600');
    proxy.script = (post) => {
      asked += 1;
      if (post.recipients.length > 0) tried.add(post.id);
      return (LONG || asked % 8 === 0 ? next() : later)?.give(post);
    };
    // Mail goes on coming in, and is not tried.
    const old = handIn(road.spool, put('old', BACKLOG / 2));
    await time.pass(drain, () => {
      const share = (time.aheadMs - begin) / (3 * DAY);
      const more = Math.min(BACKLOG, Math.ceil((BACKLOG / 2) * (1 + share))) - old.length;
      old.push(...handIn(road.spool, put('old', more), { wake: false }));
      return share >= 1;
    });
    assert.ok(asked < (time.aheadMs - begin) / 60_000, `${asked} requests`);
    const { counters, messages } = lookInto(road.spool);
    assert.deepEqual([counters.accepted, counters.queued], [BACKLOG + 1, BACKLOG + 1]);
    assert.ok(messages.every(({ id, attempts }) => attempts === (id === worn ? 2 : 0)));

    const recovery = new Recovery((to) =>
      to.startsWith('worn')
        ? { status: '4.2.2', reason: 'full' }
        : { status: '2.0.0', reason: 'sent' },
    );
    proxy.script = (post) => recovery.answer(post);
    time.move(limits.retryAfterMaxMs);
    await proxy.received(1, ({ id }) => id === old.at(BACKLOG / 2));
    const fresh = handIn(road.spool, put('new', 20));
    await proxy.received(fresh.length, ({ recipients: [to] }) => to === 'new@example.org');
    await drain.says(/<new@example.org> sent/, fresh.length);
    assert.equal((await drain.stop()).code, 0);
    const after = lookInto(road.spool);
    assert.deepEqual([after.counters.sent, after.counters.queued], [BACKLOG + fresh.length, 1]);
    assert.deepEqual(
      after.messages.flatMap(({ state, attempts }) => (state === 'queued' ? attempts : [])),
      [3],
    );

    const { order, burst, fullAfter, rounds } = recovery;
    assert.equal(new Set(order).size, order.length, 'a message was posted twice');
    assert.equal(burst, 0, 'more posts at once than had passed before, or than the limit');
    assert.ok(fullAfter < 2 * FULL, `full rate only after ${fullAfter} posts`);
    // Messages that were tried go behind those that were not; messages in flight together arrive in any order.
    // Few: a probe that passes lets one post go, and another one after a second, which a busy machine may take.
    assert.ok(tried.size < 20, `${tried.size} messages were tried`);
    const inOrder = [...old, ...fresh].filter((id) => !tried.has(id));
    const arrived = order.filter((id) => !tried.has(id));
    const turn = new Map(inOrder.map((id, index) => [id, index]));
    const late = arrived.map((id, index) => Math.abs(index - (turn.get(id) ?? Infinity)));
    assert.ok(
      late.every((places) => places < limits.inFlight),
      `${Math.max(...late)} places off`,
    );
    figures(t, 'three days of outage', { requests: asked, backlog: BACKLOG, fullAfter, rounds });
  },
);

/** Posts at once that a near proxy is sent in any case, however busy this machine is. */
const FULL = limits.inFlightSlow;

/** A proxy that is well, and holds its answers until it has as many posts as drain may have begun. */
class Recovery {
  /** The ids, as they were posted. */
  readonly order: string[] = [];
  /** By how many there were too many posts at once. */
  burst = 0;
  /** Posts that had been answered when for the first time FULL were in flight. */
  fullAfter = Infinity;
  rounds = 0;
  readonly #verdict: (recipient: string) => Omit<Verdict, 'recipient'>;
  #answered = 0;
  #held: Received[] = [];
  #patience: NodeJS.Timeout | undefined;

  constructor(verdict: (recipient: string) => Omit<Verdict, 'recipient'>) {
    this.#verdict = verdict;
  }

  answer(post: Received): void {
    if (post.recipients.length === 0) return post.accept(); // A probe.
    this.order.push(post.id);
    this.#held.push(post);
    const open = this.#held.length;
    const most = Math.min(limits.inFlight, 1 + this.#answered);
    this.burst = Math.max(this.burst, open - most);
    if (open === FULL) this.fullAfter = Math.min(this.fullAfter, this.#answered);
    const release = () => {
      const held = this.#held;
      this.#held = [];
      this.#answered += held.length;
      this.rounds += 1;
      for (const each of held) each.answer(this.#verdict);
    };
    // A little longer than until all are there: more would be a burst. The last ones are fewer. Drain counts a wait that is
    // much longer as a queue at the proxy, and then posts fewer at once.
    clearTimeout(this.#patience);
    this.#patience = setTimeout(release, open < most ? 450 : 300);
  }
}
