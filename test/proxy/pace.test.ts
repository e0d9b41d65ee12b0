import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/host/clock.ts';
import { limits } from '../../src/limits.ts';
import {
  BackendBusyError,
  BackendThrottledError,
  BackendUnavailableError,
} from '../../src/proxy/backends/backend.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { Pacer } from '../../src/proxy/pace/pacer.ts';
import { dayQuota, parsePace, type Quota } from '../../src/proxy/pace/quota.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { ControlledDeliverer, everyone } from '../support/controlled-deliverer.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

const HOUR_MS = 3_600_000;

/** A clock that the test moves, whose timers end as it is moved. */
class MovedClock implements Clock {
  at = 1000;
  #timers: { at: number; callback: () => void }[] = [];
  readonly wallNow = () => systemClock.wallNow();
  readonly random = () => 0.5;
  readonly randomBytes = (size: number) => Buffer.alloc(size);

  now(): number {
    return this.at;
  }

  timer(ms: number, callback: () => void): () => void {
    const timer = { at: this.at + ms, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  /** Moves on, and lets everything happen that follows. */
  async move(ms: number): Promise<void> {
    const end = this.at + ms;
    for (;;) {
      await settled();
      const next = this.#timers.toSorted((a, b) => a.at - b.at)[0];
      if (!next || next.at > end) break;
      this.at = Math.max(this.at, next.at);
      this.#timers = this.#timers.filter((each) => each !== next);
      next.callback();
    }
    this.at = end;
    await settled();
  }
}

/** Lets commits and what waits for them happen. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Proxies with one ledger. */
class Paced {
  readonly clock = new MovedClock();
  readonly journal: string[] = [];
  readonly #file: string;
  readonly #quotas: readonly Quota[];
  ledger: SqliteLedger;

  constructor(t: TestContext, quotas: readonly Quota[]) {
    this.#file = join(scratch(t), 'ledger.db');
    this.#quotas = quotas;
    this.ledger = new SqliteLedger(this.#file, this.clock);
    t.after(() => this.ledger.close());
  }

  pacer(): Pacer {
    const journal = proxyJournal(({ text }) => this.journal.push(text));
    return new Pacer(this.#quotas, this.ledger, journal);
  }

  reopen(): void {
    this.ledger.close();
    this.ledger = new SqliteLedger(this.#file, this.clock);
  }
}

/** What came of a wish: `granted N`, or `in N ms` for a refusal, or `waits`. */
function wish(pacer: Pacer, wanted: number, patienceMs = 45_000): { came: string } {
  const wished = { came: 'waits' };
  const take = async () => {
    try {
      pacer.requireOpen();
      wished.came = `granted ${(await pacer.take(wanted, patienceMs)).recipients}`;
    } catch (error) {
      assert.ok(error instanceof BackendBusyError, String(error));
      wished.came = `in ${error.retryAfterMs} ms`;
    }
  };
  void take();
  return wished;
}

test('those who come have their turns in that order, each within some seconds or not at all', async (t) => {
  const paced = new Paced(t, [parsePace('10/s')]);
  const pacer = paced.pacer();
  const wishes = [8, 5, 1, 30, 1].map((wanted) => wish(pacer, wanted));
  const came = () => wishes.map((each) => each.came);
  await paced.clock.move(0);
  // The second does not fit, and the third waits behind it although it would: else the second might wait for ever.
  assert.deepEqual(came(), ['granted 8', 'waits', 'waits', 'waits', 'waits']);
  await paced.clock.move(1010);
  assert.deepEqual(came(), ['granted 8', 'granted 5', 'granted 1', 'waits', 'waits']);
  // More than the quota are never allowed at once: the message goes to the first of them.
  await paced.clock.move(1010);
  assert.deepEqual(came().slice(3), ['granted 10', 'waits']);
  await paced.clock.move(1010);
  assert.equal(wishes[4]?.came, 'granted 1');
  assert.deepEqual(paced.journal, []);
});

test('a wait that is too long is refused at once, with the time when it ends, and told once', async (t) => {
  const paced = new Paced(t, [parsePace('10/h')]);
  const pacer = paced.pacer();
  const first = wish(pacer, 7);
  const large = wish(pacer, 5);
  const small = wish(pacer, 1);
  await paced.clock.move(0);
  // The large one takes what is left: neither it nor the small ones wait for ever.
  assert.deepEqual([first.came, large.came], ['granted 7', 'granted 3']);
  assert.equal(small.came, `in ${HOUR_MS * 1.01} ms`);
  for (let times = 0; times < 100; times += 1) {
    const again = wish(pacer, 1);
    await paced.clock.move(30_000);
    assert.match(again.came, /^in \d+ ms$/);
  }
  assert.deepEqual(paced.journal, [
    '--pace 10/h is used up: it goes on in 61 min: hosts are told to post again then, and their mail waits in their queues',
  ]);
  await paced.clock.move(HOUR_MS);
  const later = wish(pacer, 10);
  await paced.clock.move(0);
  assert.equal(later.came, 'granted 10');
});

test('proxies that share a ledger share its quotas, also after a restart; the wall clock is nobody (law 12)', async (t) => {
  const paced = new Paced(t, [dayQuota(100)]);
  const [one, two] = [paced.pacer(), paced.pacer()];
  const wishes = Array.from({ length: 30 }, (_, each) => wish(each % 2 === 0 ? one : two, 5));
  await paced.clock.move(0);
  const granted = wishes.filter(({ came }) => came === 'granted 5');
  assert.equal(granted.length, 20);
  paced.reopen();
  const third = wish(paced.pacer(), 1);
  await paced.clock.move(0);
  assert.match(third.came, /^in 8\d{7} ms$/);
  await paced.clock.move(24.3 * HOUR_MS);
  const next = wish(paced.pacer(), 100);
  await paced.clock.move(0);
  assert.equal(next.came, 'granted 100');
});

test('what a backend could not send is given back, and can be sent at once', async (t) => {
  const paced = new Paced(t, [dayQuota(10)]);
  const pacer = paced.pacer();
  const grant = await pacer.take(10, 1000);
  const refused = wish(pacer, 1);
  await paced.clock.move(0);
  assert.match(refused.came, /^in /);
  await grant.giveBack(4);
  assert.throws(() => {
    pacer.requireOpen();
    throw new Error('open');
  }, /^Error: open$/);
  assert.equal((await pacer.take(10, 1000)).recipients, 4);
});

test('nothing is begun for a post that was answered already', async (t) => {
  const paced = new Paced(t, [parsePace('1/s')]);
  const pacer = paced.pacer();
  const wishes = Array.from({ length: 20 }, () => wish(pacer, 1));
  await paced.clock.move(20_000);
  const granted = wishes.filter(({ came }) => came.startsWith('granted'));
  assert.ok(granted.length >= 10 && granted.length <= 12, String(granted.length));
  assert.ok(wishes.slice(12).every(({ came }) => /^in \d+ ms$/.test(came)));
});

test("the provider's own throttling makes a pause, doubling while nothing passes, and halves the pace", async (t) => {
  const paced = new Paced(t, [parsePace('16/s')]);
  const pacer = paced.pacer();
  const throttle = (retryAfterMs?: number) =>
    pacer.throttled(new BackendThrottledError('454 Throttling failure', retryAfterMs)).retryAfterMs;
  assert.equal(throttle(), limits.throttleFirstMs);
  // Deliveries that were under way together count once.
  assert.equal(throttle(), limits.throttleFirstMs);
  assert.equal(throttle(5000), 5000);
  assert.throws(() => pacer.requireOpen(), { name: 'BackendBusyError', retryAfterMs: 5000 });
  await paced.clock.move(5000);
  pacer.requireOpen();
  assert.equal(throttle(), 2 * limits.throttleFirstMs);
  await paced.clock.move(2 * limits.throttleFirstMs);
  // A quarter is left of 16 in a second.
  assert.equal((await pacer.take(16, 1000)).recipients, 4);
  for (let pause = limits.throttleFirstMs * 4; pause < limits.throttleMaxMs; pause *= 2) {
    assert.equal(throttle(), pause);
    await paced.clock.move(pause);
  }
  assert.equal(throttle(), limits.throttleMaxMs);
  await paced.clock.move(limits.throttleMaxMs);
  pacer.passed();
  assert.equal(throttle(), limits.throttleFirstMs);
  const told =
    'the provider gets more than it takes, and is given less for now: 454 Throttling failure';
  assert.deepEqual(paced.journal, [told]);
  await paced.clock.move(16 * 60_000);
  assert.equal((await pacer.take(16, 1000)).recipients, 16);
});

test('a message goes to as many of its recipients as the quota allows, and to the others at a later post (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t, [dayQuota(3)]);
  const all = ['a@x.example', 'b@x.example', 'c@x.example', 'd@x.example'];
  const [, , third, fourth] = await proxy.post('id', all);
  assert.equal(third, '2.0.0 told c@x.example');
  assert.match(fourth ?? '', /^4\.5\.3 the pace of the proxy allows fewer recipients at once/);
  await assert.rejects(proxy.post('id', all.slice(3)), { name: 'BackendBusyError' });
  proxy.restart({ after: 24.5 * HOUR_MS });
  assert.deepEqual(await proxy.post('id', all.slice(3)), ['2.0.0 told d@x.example']);
  assert.deepEqual(
    proxy.calls.map(({ recipients }) => recipients.length),
    [3, 1],
  );
});

test('a relay that is down uses up no quota, and one that throttles is no trouble (law 5)', async (t) => {
  const proxy = new ControlledDeliverer(t, [dayQuota(2)]);
  proxy.answer = () => Promise.reject(new BackendUnavailableError('the relay is down'));
  for (let times = 0; times < 5; times += 1) {
    await assert.rejects(proxy.post('id', ['a@x.example', 'b@x.example']), /the relay is down/);
  }
  proxy.answer = () => Promise.reject(new BackendThrottledError('454 too much', 1));
  await assert.rejects(proxy.post('id', ['a@x.example']), { name: 'BackendBusyError' });
  assert.equal(proxy.journal.filter((text) => text.includes('attention')).length, 5);
  proxy.restart();
  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  assert.equal((await proxy.post('id', ['a@x.example', 'b@x.example'])).length, 2);
  await assert.rejects(proxy.post('other', ['a@x.example']), { name: 'BackendBusyError' });
});

test('recipients to whom the backend did not come use up no quota: they are posted again at once', async (t) => {
  const proxy = new ControlledDeliverer(t, [dayQuota(3)]);
  const all = ['a@x.example', 'b@x.example', 'c@x.example'];
  proxy.answer = ({ recipients }) =>
    Promise.resolve(
      recipients.map((recipient, place) =>
        place === 0
          ? { recipient, status: '2.0.0', reason: 'told' }
          : { recipient, status: '4.5.3', reason: 'the second call failed' },
      ),
    );
  for (let left = all; left.length > 0; left = left.slice(1)) {
    const [first = ''] = await proxy.post('id', left);
    assert.match(first, /^2\.0\.0 /);
  }
  await assert.rejects(proxy.post('other', ['d@x.example']), { name: 'BackendBusyError' });
});

test('a message that the ledger cannot begin uses up no quota (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t, [dayQuota(2)]);
  const fault = new Error('disk full');
  const begin = t.mock.method(proxy.ledger, 'begin', async () => Promise.reject(fault));
  for (let times = 0; times < 3; times += 1) {
    await assert.rejects(proxy.post('id', ['a@x.example', 'b@x.example']), /disk full/);
  }
  begin.mock.restore();
  assert.equal((await proxy.post('id', ['a@x.example', 'b@x.example'])).length, 2);
});

test('a backlog meets --pace by waiting: in its order, at that pace, without a refusal (law 13)', async (t) => {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t);
  const proxy = await road.proxy(smtpOptions(smtp, '--pace', '10/s', '--smtp-connections', '2'));
  const ids = handIn(
    road.spool,
    Array.from({ length: 30 }, (_, each) => ({ recipients: [`r${each}@example.org`] })),
  );
  const began = performance.now();
  assert.equal((await road.drain(['--once']).ended).code, 0);
  const seconds = (performance.now() - began) / 1000;
  assert.equal(smtp.messages.length, ids.length);
  assert.ok(seconds > 2 && seconds < 30, `${seconds} s`);
  const order = smtp.messages.map(({ envelope }) =>
    Number(/<r(\d+)@/.exec(envelope[1] ?? '')?.[1]),
  );
  // Posts and connections beside each other may overtake one another, but not by many.
  const overtaken = order.map((number, place) => Math.abs(number - place));
  assert.ok(Math.max(...overtaken) <= 10, order.join());
  assert.doesNotMatch(proxy.stderr, /attention|refused with/);
});

test('a quota of the day that is used up: the rest waits in its order, with one line on each side and few posts (law 5)', async (t) => {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t);
  const proxy = await road.proxy(smtpOptions(smtp, '--pace-day', '5'));
  handIn(
    road.spool,
    Array.from({ length: 12 }, (_, each) => ({ recipients: [`r${each}@example.org`] })),
  );
  const drain = road.drain([]);
  await proxy.says(/--pace-day 5 is used up: it goes on in 24 h/);
  await drain.says(/asks for fewer posts: --pace-day 5 is used up: it goes on in 24 h; at most/);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await drain.stop();
  assert.equal(smtp.messages.length, 5);
  assert.equal(drain.stderr.match(/asks for fewer posts/g)?.length, 1 + lastReasons(drain.stderr));
  assert.doesNotMatch(drain.stderr, /is down|attention/);
  assert.equal(proxy.stderr.match(/is used up/g)?.length, 1);
  assert.doesNotMatch(proxy.stderr, /attention|refused with/);
  const waiting = lookInto(road.spool).messages.filter(({ state }) => state === 'queued');
  assert.equal(waiting.length, 7);
  for (const { attempts } of waiting) assert.equal(attempts, 0);
});

/** Lines about single messages, which say the same. */
function lastReasons(text: string): number {
  return text.match(/^.*: postponed.*asks for fewer posts/gm)?.length ?? 0;
}

test("the relay's own throttling: hosts are told to wait, once, and no mail fails or is charged (law 5)", async (t) => {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t, {
    message: '454 Throttling failure: Maximum sending rate exceeded.',
  });
  const proxy = await road.proxy(smtpOptions(smtp));
  handIn(road.spool, [{}, {}, {}]);
  const drain = road.drain([]);
  await drain.says(/asks for fewer posts: the relay .*454 .*Maximum sending rate exceeded/);
  smtp.script['message'] = '250 2.0.0 Ok';
  await drain.says(/> sent \(2/, 3);
  await drain.stop();
  assert.doesNotMatch(drain.stderr, /is down/);
  assert.doesNotMatch(proxy.stderr, /attention|refused with/);
  assert.equal(proxy.stderr.match(/the provider gets more than it takes/g)?.length, 1);
});

function smtpOptions(smtp: ScriptedSmtp, ...more: string[]): string[] {
  const at = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  return ['--backend', 'smtp', '--smtp-security', 'none', ...at, ...more];
}
