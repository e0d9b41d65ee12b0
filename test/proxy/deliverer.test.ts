import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { limits } from '../../src/limits.ts';
import {
  BackendBusyError,
  BackendUnavailableError,
  type Delivery,
  type Result,
} from '../../src/proxy/backends/backend.ts';
import { DigestConflictError } from '../../src/proxy/ledger/ledger.ts';
import { ControlledDeliverer, everyone } from '../support/controlled-deliverer.ts';

const [a, b] = ['a@example.org', 'b@example.org'] as const;
const IN_PROGRESS = '4.4.0 it is still being sent';

/** A backend that answers when it is told to, under a clock that the test moves. */
async function slow(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const proxy = new ControlledDeliverer(t);
  const answers: ((results: (delivery: Delivery) => Result[]) => void)[] = [];
  proxy.answer = async (delivery) =>
    new Promise((resolve) => answers.push((results) => resolve(results(delivery))));
  const called = async (times: number) => {
    while (proxy.calls.length < times) await tick();
  };
  return { proxy, answers, called };
}

async function tick() {
  return new Promise((resolve) => setImmediate(resolve));
}

const refused = ({ recipients }: Delivery) =>
  recipients.map((recipient) => ({ recipient, status: '5.1.1', reason: 'no such user' }));
const sent = (delivery: Delivery) => everyone(delivery, '2.0.0');

test('after 45 s a post is answered, the delivery goes on, and the next post waits for it (law 6, law 13)', async (t) => {
  const { proxy, answers, called } = await slow(t);
  const first = proxy.post('id', [a, b]);
  await called(1);
  t.mock.timers.tick(limits.answerMs);
  assert.deepEqual(await first, [IN_PROGRESS, IN_PROGRESS]);
  assert.match(proxy.journal.join('\n'), /in progress \(4\.4\.0 it is still being sent\)/);

  const second = proxy.post('id', [b, a]);
  await tick();
  answers[0]?.(sent);
  assert.deepEqual(await second, [`2.0.0 told ${b}`, `2.0.0 told ${a}`]);
  assert.equal(proxy.calls.length, 1);
  assert.deepEqual(
    proxy.rows('recipient').map(({ state }) => state),
    ['sent', 'sent'],
  );
  assert.deepEqual(proxy.rows('unknown'), []);
  assert.deepEqual(proxy.deliverer.teller.given, { sent: 2, deferred: 0, failed: 0 });
  assert.equal(proxy.journal.filter((line) => line.includes('sent (2.0.0')).length, 1);
});

test('asking waits for a delivery in progress, and finds recipients that were sent, also after a restart (law 6, law 13)', async (t) => {
  const { proxy, answers, called } = await slow(t);
  const first = proxy.post('id', [a, b]);
  await called(1);
  t.mock.timers.tick(limits.answerMs);
  await first;
  const early = proxy.ask('id', [a]);
  await tick();
  t.mock.timers.tick(limits.answerMs);
  assert.deepEqual(await early, [IN_PROGRESS]);
  const asked = proxy.ask('id', [a, b]);
  await tick();
  answers[0]?.(sent);
  assert.deepEqual(await asked, [`2.0.0 told ${a}`, `2.0.0 told ${b}`]);
  proxy.restart();
  assert.deepEqual(await proxy.ask('id', [b, a]), [`2.0.0 told ${b}`, `2.0.0 told ${a}`]);
  assert.equal(proxy.calls.length, 1);
});

test('a refusal that came while nobody was waiting is kept until it is heard, for 10 minutes (law 13)', async (t) => {
  const { proxy, answers, called } = await slow(t);
  for (const [times, heard] of [
    [1, true],
    [2, false],
  ] as const) {
    const post = proxy.post('id', [a]);
    await called(times);
    t.mock.timers.tick(limits.answerMs);
    assert.deepEqual(await post, [IN_PROGRESS]);
    answers[times - 1]?.(refused);
    const told = () => proxy.journal.filter((line) => line.includes('no such user'));
    while (told().length < times) await tick();
    t.mock.timers.tick(heard ? limits.unheardMs - 1 : limits.unheardMs);
    const [verdict = ''] = await proxy.ask('id', [a]);
    assert.match(verdict, heard ? /^5\.1\.1 no such user/ : /^4\.4\.2 /);
    assert.match((await proxy.ask('id', [a])).join(), /^4\.4\.2 /, 'heard once, or forgotten');
  }
  assert.deepEqual(proxy.rows('unknown'), []);
});

test('a verdict that is forgotten after 10 minutes leaves a later delivery alone (law 6)', async (t) => {
  const { proxy, answers, called } = await slow(t);
  const first = proxy.post('id', [a]);
  await called(1);
  t.mock.timers.tick(limits.answerMs);
  await first;
  answers[0]?.(refused);
  while (!proxy.journal.some((line) => line.includes('no such user'))) await tick();
  assert.match((await proxy.post('id', [a])).join(), /^5\.1\.1 /, 'heard');

  const second = proxy.post('id', [a]);
  await called(2);
  t.mock.timers.tick(limits.answerMs);
  assert.deepEqual(await second, [IN_PROGRESS]);
  t.mock.timers.tick(limits.unheardMs);
  const third = proxy.post('id', [a]);
  await tick();
  answers[1]?.(sent);
  assert.deepEqual(await third, [`2.0.0 told ${a}`]);
  assert.equal(proxy.calls.length, 2, 'it joined the delivery that was under way');
});

test('asking about a message that was never posted gives 4.4.2, and nothing is begun or written', async (t) => {
  const proxy = new ControlledDeliverer(t);
  assert.deepEqual(await proxy.ask('id', [a]), [
    '4.4.2 the proxy does not know whether it was sent',
  ]);
  assert.deepEqual([proxy.calls.length, proxy.rows('message').length], [0, 0]);
});

test('a backend without a free place is busy: nothing was begun, and the ledger knows nothing (law 6, law 13)', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const proxy = new ControlledDeliverer(t);
  const { backend } = proxy;
  proxy.backend = {
    async reserve(giveUp) {
      await once(giveUp.signal, 'abort');
      throw new BackendBusyError('no room');
    },
  };
  const posts = [proxy.post('id', [a, b]), proxy.post('id', [b]), proxy.post('other', [a])];
  await tick();
  t.mock.timers.tick(limits.answerMs);
  for (const post of posts) await assert.rejects(post, BackendBusyError);
  for (const table of ['message', 'recipient', 'unknown'] as const) {
    assert.deepEqual(proxy.rows(table), [], table);
  }
  const told = proxy.journal.filter((line) => line.includes('hosts are told to post less'));
  assert.equal(told.length, 1, 'one line for all');

  proxy.backend = backend;
  assert.deepEqual(await proxy.post('id', [a, b]), [`2.0.0 told ${a}`, `2.0.0 told ${b}`]);
});

test('a recipient that was sent is answered without waiting for a place', async (t) => {
  const proxy = new ControlledDeliverer(t);
  await proxy.post('id', [a]);
  proxy.backend = { reserve: () => new Promise(() => {}) };
  assert.deepEqual(await proxy.post('id', [a]), [`2.0.0 told ${a}`]);
});

test('while a post waits for a place, one with the same id and other bytes is refused (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const { backend } = proxy;
  const room = new AbortController();
  proxy.backend = {
    async reserve(giveUp) {
      await once(room.signal, 'abort');
      return backend.reserve(giveUp);
    },
  };
  const first = proxy.post('id', [a]);
  await assert.rejects(proxy.post('id', [a], 'other\n'), DigestConflictError);
  await assert.rejects(proxy.post('id', [a, b], 'other\n'), DigestConflictError);
  room.abort();
  assert.deepEqual(await first, [`2.0.0 told ${a}`]);
  assert.deepEqual(proxy.rows('unknown'), []);
  assert.deepEqual(
    proxy.calls.map(({ recipients }) => recipients),
    [[a]],
  );
});

test('a place is given back when the ledger cannot be written', async (t) => {
  const proxy = new ControlledDeliverer(t);
  let released = 0;
  proxy.backend = {
    reserve: () => {
      proxy.ledger.close();
      return Promise.resolve({
        deliver: () => assert.fail('nothing may be sent that is not written down'),
        release: () => void (released += 1),
      });
    },
  };
  await assert.rejects(proxy.post('id', [a]), BackendUnavailableError);
  assert.equal(released, 1);
});

test('a late delivery of which nothing was sent is tried anew when it is posted anew (law 5, law 6)', async (t) => {
  const { proxy, called } = await slow(t);
  const relay = new EventEmitter();
  proxy.answer = async () => once(relay, 'never') as Promise<never>;
  const first = proxy.post('id', [a]);
  await called(1);
  t.mock.timers.tick(limits.answerMs);
  assert.deepEqual(await first, [IN_PROGRESS]);
  const asked = proxy.ask('id', [a]);
  await tick();
  relay.emit('error', new BackendUnavailableError('the relay went away'));
  await assert.rejects(asked, BackendUnavailableError);
  assert.deepEqual([proxy.rows('recipient'), proxy.rows('unknown')], [[], []]);
  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  assert.deepEqual(await proxy.post('id', [a]), [`2.0.0 told ${a}`]);
});

test('trouble of the relay that came while nobody asked is heard by the next ask, once (law 5)', async (t) => {
  const { proxy, called } = await slow(t);
  const relay = new EventEmitter();
  proxy.answer = async () => once(relay, 'never') as Promise<never>;
  const first = proxy.post('id', [a]);
  await called(1);
  t.mock.timers.tick(limits.answerMs);
  await first;
  relay.emit('error', new BackendUnavailableError('the relay went away'));
  while (!proxy.journal.join().includes('the relay went away')) await tick();
  await tick();
  await assert.rejects(proxy.ask('id', [a]), BackendUnavailableError);
  assert.match((await proxy.ask('id', [a])).join(), /^4\.4\.2 /);
});

test('a post that found no place for one recipient comes again, and joins the delivery to the other (law 13)', async (t) => {
  const { proxy, answers, called } = await slow(t);
  const { backend } = proxy;
  const first = proxy.post('id', [a]);
  await called(1);
  proxy.backend = {
    async reserve(giveUp) {
      await once(giveUp.signal, 'abort');
      throw new BackendBusyError('no room');
    },
  };
  const second = proxy.post('id', [a, b]);
  await tick();
  t.mock.timers.tick(limits.answerMs - limits.roomMarginMs);
  await assert.rejects(second, BackendBusyError);
  t.mock.timers.tick(limits.roomMarginMs);
  assert.deepEqual(await first, [IN_PROGRESS]);
  proxy.backend = backend;
  const third = proxy.post('id', [a, b]);
  await called(2);
  for (const answer of answers) answer(sent);
  assert.deepEqual(await third, [`2.0.0 told ${a}`, `2.0.0 told ${b}`]);
});

test('a backend that never ends is unknown after 12 h, and listed (law 6)', async (t) => {
  const { proxy, called } = await slow(t);
  const posted = proxy.post('id', [a]);
  await called(1);
  t.mock.timers.tick(limits.answerMs);
  await posted;
  t.mock.timers.tick(limits.deliveryMs);
  assert.deepEqual(await proxy.ask('id', [a]), ['4.4.2 the backend took too long']);
  assert.deepEqual(
    proxy.rows('unknown').map(({ address }) => address),
    [a],
  );
});

test('a post that is answered holds no memory until its time would be up', async (t) => {
  const relay = new ControlledDeliverer(t);
  const held: WeakRef<object>[] = [];
  relay.answer = (delivery) => {
    held.push(new WeakRef(delivery));
    return Promise.resolve(everyone(delivery, '2.0.0'));
  };
  await relay.post('id', [a]);
  relay.calls.length = 0;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // What a job has looked at lives to its end, and some go a round later.
  for (let rounds = 0; rounds < 5; rounds += 1) {
    await tick();
    collect();
  }
  assert.deepEqual(
    held.map((each) => each.deref()),
    [undefined],
  );
});
