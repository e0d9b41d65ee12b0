import assert from 'node:assert/strict';
import test from 'node:test';
import { claim } from '../../src/spool/claim.ts';
import { recordDown, recordPassed } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { findMessages, listMessages, type Filter } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;
const DAY = 86_400_000;

/** Exim ids of what is listed. */
function list(spool: Spool, filter: Filter = {}): string[] {
  return Array.from(listMessages(spool, filter, NOW), ({ eximId }) => eximId);
}

/** Queues a message named by its Exim id and returns its id. */
function add(spool: Spool, eximId: string, more: Parameters<typeof handOver>[0] = {}): string {
  return enqueue(spool, handOver({ eximId, ...more }), NOW).id;
}

/** Stores a message that is finished at once. */
function finish(spool: Spool, eximId: string, state: 'sent' | 'failed'): void {
  const seq = findMessages(spool, add(spool, eximId), NOW)[0]?.seq ?? 0;
  const status = state === 'sent' ? '2.0.0' : '5.1.1';
  const verdicts = [{ position: 0, state, status, reason: 'so' }];
  const rest = { charged: false, warnings: 0, dueAt: NOW, lastStatus: status, lastReason: 'so' };
  spool.transaction(() => record(spool, [{ seq, verdicts, ...rest }], NOW));
}

/** A spool with a message in each state, named by it. */
function spoolOfAllStates(...[t]: Parameters<typeof freshSpool>): Spool {
  const spool = freshSpool(t);
  add(spool, 'sending');
  spool.transaction(() => claim(spool, { messages: 1, bytes: 1e6, bypassBytes: 0 }, NOW));
  operate(spool, add(spool, 'held'), { verb: 'hold', now: NOW });
  finish(spool, 'sent', 'sent');
  finish(spool, 'failed', 'failed');
  operate(spool, add(spool, 'deleted'), { verb: 'delete', now: NOW });
  add(spool, 'queued');
  return spool;
}

test('without a filter the list has what an operator cares about, oldest first', (t) => {
  assert.deepEqual(list(spoolOfAllStates(t)), ['sending', 'held', 'failed', 'queued']);
});

test('states choose exactly what is in them', (t) => {
  const spool = spoolOfAllStates(t);
  const all = ['queued', 'sending', 'held', 'failed', 'sent', 'deleted'] as const;
  for (const state of all) assert.deepEqual(list(spool, { states: [state] }), [state]);
  assert.deepEqual(list(spool, { states: ['bounced'] }), []);
  assert.deepEqual(list(spool, { states: ['queued', 'held'] }), ['held', 'queued']);
  const everything = ['sending', 'held', 'sent', 'failed', 'deleted', 'queued'];
  assert.deepEqual(list(spool, { states: all }), everything);
});

test('sender, recipient and age choose, each alone and all together', (t) => {
  const spool = freshSpool(t);
  add(spool, 'a', { sender: 's@x', recipients: ['r@x', 'q@x'] });
  add(spool, 'b', { sender: 's@x', recipients: ['p@x'] });
  add(spool, 'c', { sender: '', recipients: ['q@x'] });
  add(spool, 'd', { sender: 'f\udcfc@x', recipients: ['q@x', 'f\udcfc@x'] });
  spool
    .sql(`UPDATE message SET queued_at = :now - iif(exim_id IN ('b', 'c'), :day, 0)`)
    .run({ now: NOW, day: DAY });
  assert.deepEqual(list(spool, { sender: 's@x' }), ['a', 'b']);
  assert.deepEqual(list(spool, { sender: '' }), ['c'], 'the null sender');
  assert.deepEqual(list(spool, { sender: 'f\udcfc@x' }), ['d'], 'one that is not UTF-8');
  assert.deepEqual(list(spool, { sender: 'S@X' }), ['a', 'b'], 'in both cases');
  assert.deepEqual(list(spool, { sender: '@x' }), ['a', 'b', 'd'], 'a domain');
  assert.deepEqual(list(spool, { recipient: 'q@x' }), ['a', 'c', 'd']);
  assert.deepEqual(list(spool, { recipient: 'f\udcfc@x' }), ['d']);
  assert.deepEqual(list(spool, { queuedBefore: NOW }), ['b', 'c']);
  assert.deepEqual(list(spool, { queuedBefore: NOW - DAY }), [], 'older, not as old');
  assert.deepEqual(list(spool, { recipient: 'q@x', queuedBefore: NOW }), ['c']);
  const all = { sender: '', recipient: 'q@x', queuedBefore: NOW, states: ['queued'] } as const;
  assert.deepEqual(list(spool, all), ['c']);
  assert.deepEqual(list(spool, { ...all, states: ['held'] }), []);
});

test('a list longer than a page has every message once, in order', (t) => {
  const spool = freshSpool(t);
  const names = Array.from({ length: 600 }, (_, number) => `n${number}`);
  spool.transaction(() => names.forEach((name) => add(spool, name)));
  assert.deepEqual(list(spool), names);
  assert.deepEqual(list(spool, { states: ['queued', 'sent'] }), names);
  // What does not fit does not end the list either: the first page would be empty.
  spool.sql(`UPDATE message SET sender = x'61' WHERE seq > 500`).run();
  assert.deepEqual(list(spool, { sender: 'a' }), names.slice(500));
});

for (const length of [200, 400]) {
  test(`a list of exactly ${length} messages, which is full pages, ends`, (t) => {
    const spool = freshSpool(t);
    const names = Array.from({ length }, (_, number) => `n${number}`);
    spool.transaction(() => names.forEach((name) => add(spool, name)));
    assert.deepEqual(list(spool), names);
  });
}

// haraka #2591: listing the queue disturbed it.
test('while a list is read others write, and it still has each message once', (t) => {
  const spool = freshSpool(t);
  const names = Array.from({ length: 450 }, (_, number) => `n${number}`);
  const ids = spool.transaction(() => names.map((name) => add(spool, name)));
  const pipe = new Spool(spool.folder, 'pipe');
  t.after(() => pipe.close());

  const listed: string[] = [];
  for (const { eximId } of listMessages(spool, {}, NOW)) {
    listed.push(eximId);
    if (eximId === 'n100') {
      add(pipe, 'new-from-pipe');
      add(spool, 'new-from-here');
      operate(pipe, ids[50] ?? '', { verb: 'delete', now: NOW });
      operate(pipe, ids[420] ?? '', { verb: 'delete', now: NOW });
      operate(pipe, ids[430] ?? '', { verb: 'hold', now: NOW });
    }
  }
  const expected = names.filter((name) => name !== 'n420');
  assert.deepEqual(listed, [...expected, 'new-from-pipe', 'new-from-here']);
});

test('a listed message says when trouble of its own will end it; outages put that off', (t) => {
  const spool = freshSpool(t);
  const id = add(spool, 'a');
  const expiresAt = (now: number) => findMessages(spool, id, now)[0]?.expiresAt;
  assert.equal(expiresAt(NOW), NOW + 5 * DAY);
  recordDown(spool, 'refused', NOW + DAY, NOW + DAY);
  assert.equal(expiresAt(NOW + 2 * DAY), NOW + 6 * DAY);
  recordPassed(spool, NOW + 3 * DAY);
  assert.equal(expiresAt(NOW + 4 * DAY), NOW + 7 * DAY);
  recordDown(spool, 'refused', NOW + 4 * DAY, NOW + 4 * DAY);
  assert.equal(expiresAt(NOW + 99 * DAY), NOW + 14 * DAY);
  operate(spool, id, { verb: 'hold', now: NOW });
  assert.equal(expiresAt(NOW), null, 'time held does not count');
  operate(spool, id, { verb: 'release', now: NOW + 4 * DAY });
  assert.equal(expiresAt(NOW + 4 * DAY), NOW + 9 * DAY);
});

test('a message is found by its id, whatever its state, and no other id finds one', (t) => {
  const spool = spoolOfAllStates(t);
  const states = ['queued', 'sending', 'held', 'failed', 'sent', 'deleted'] as const;
  for (const message of listMessages(spool, { states }, NOW)) {
    assert.deepEqual(findMessages(spool, message.id, NOW)[0], message);
  }
  assert.equal(findMessages(spool, '0'.repeat(32), NOW)[0], undefined);
  assert.equal(findMessages(spool, '', NOW)[0], undefined);
});
