import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import {
  claim,
  nextDueAt,
  recoverClaimed,
  capacityLeft,
  type Capacity,
} from '../../src/spool/claim.ts';
import { recordDown } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { findMessages } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { proxyNumber } from '../../src/spool/posted-to.ts';
import { record } from '../../src/spool/record.ts';
import { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;
const MINUTE = 60_000;
const DAY = 86_400_000;
const MiB = 1024 * 1024;
const ample = { messages: 64, bytes: 64 * MiB };

/** Queues messages named by their Exim ids, one a millisecond. */
function fill(spool: Spool, ...eximIds: string[]): void {
  for (const [place, eximId] of eximIds.entries())
    enqueue(spool, handOver({ eximId }), NOW + place);
}

/** Claims; all the room for bytes is also for those that pass others, unless said otherwise. */
function take(
  spool: Spool,
  room: Omit<Capacity, 'bypassBytes'> & Partial<Capacity>,
  now = NOW + MINUTE,
): string[] {
  return spool
    .transaction(() => claim(spool, { bypassBytes: room.bytes, ...room }, now))
    .map(({ eximId }) => eximId);
}

/** Pretends that messages are so large, which would take long to write. */
function resize(spool: Spool, sizes: Record<string, number>): void {
  for (const [eximId, size] of Object.entries(sizes)) {
    spool.sql('UPDATE message SET size = ? WHERE exim_id = ?').run(size, eximId);
  }
}

function setDue(spool: Spool, eximId: string, dueAt: number): void {
  spool.sql('UPDATE message SET due_at = ? WHERE exim_id = ?').run(dueAt, eximId);
}

test('what has been due longest goes first, and each goes once', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'a', 'b', 'c', 'd');
  setDue(spool, 'c', NOW - 5);
  assert.deepEqual(take(spool, { messages: 3, bytes: MiB }), ['c', 'a', 'b']);
  assert.deepEqual(take(spool, ample), ['d']);
  assert.deepEqual(take(spool, ample), []);
  assert.equal(stats(spool).counters.sending, 4);
});

test('messages that are due at the same moment go in the order of arrival', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'a', 'b', 'c');
  for (const each of ['c', 'a', 'b']) setDue(spool, each, NOW);
  assert.deepEqual(take(spool, ample, NOW), ['a', 'b', 'c']);
});

test('what is due later is left, up to the very millisecond', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'a', 'b', 'c');
  setDue(spool, 'b', NOW + 2 * MINUTE);
  setDue(spool, 'c', NOW + MINUTE);
  assert.deepEqual(take(spool, ample, NOW + MINUTE - 1), ['a']);
  assert.equal(nextDueAt(spool), NOW + MINUTE);
  assert.deepEqual(take(spool, ample, NOW + MINUTE), ['c']);
  assert.equal(nextDueAt(spool), NOW + 2 * MINUTE);
  assert.deepEqual(take(spool, ample, NOW + 3 * MINUTE), ['b']);
  assert.equal(nextDueAt(spool), undefined);
});

test('no more is claimed than there is room for, in messages and in bytes', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'a', 'b', 'c');
  resize(spool, { a: 10, b: 10, c: 10 });
  for (const room of [
    { messages: 0, bytes: MiB },
    { messages: -1, bytes: MiB },
    { messages: 9, bytes: 9 },
  ]) {
    assert.deepEqual(take(spool, room), []);
  }
  assert.deepEqual(take(spool, { messages: 9, bytes: 20 }), ['a', 'b']);
  assert.deepEqual(take(spool, { messages: 9, bytes: 10 }), ['c']);
});

test('what is too large for the room left is passed over, and first when there is room', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'large', 'a', 'b');
  resize(spool, { large: 30 * MiB });
  assert.deepEqual(take(spool, { messages: 9, bytes: 20 * MiB }), ['a', 'b']);
  fill(spool, 'c');
  assert.deepEqual(take(spool, { messages: 9, bytes: 30 * MiB }), ['large']);
});

test('what is larger than all the room there is finds its turn alone', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'huge', 'small');
  resize(spool, { huge: limits.messageBytes, small: 1 });
  assert.deepEqual(take(spool, { messages: 64, ...capacityLeft([]) }), ['huge', 'small']);
});

test('a large message finds its turn behind mail without end', (t) => {
  const spool = freshSpool(t);
  const inFlight = Array.from({ length: 60 }, () => ({ eximId: '', size: MiB }));
  fill(spool, 'large');
  resize(spool, { large: 50 * MiB });
  for (let turn = 0; inFlight.at(-1)?.eximId !== 'large'; turn += 1) {
    assert.ok(turn < 200, 'the large message never found room');
    inFlight.shift();
    fill(spool, `${turn}`);
    resize(spool, { [turn]: MiB });
    const taken = take(spool, { messages: 64 - inFlight.length, ...capacityLeft(inFlight) });
    inFlight.push(...taken.map((eximId) => ({ eximId, size: MiB })));
  }
});

test('while a large post hangs and another large message waits, small ones go on passing', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'waits', 'a', 'b');
  resize(spool, { waits: 50 * MiB });
  const hung = [{ size: limits.messageBytes }];
  assert.deepEqual(take(spool, { messages: 63, ...capacityLeft(hung) }), ['a', 'b']);
});

test('a few messages behind those that are too large are found, and no more are looked at', (t) => {
  const spool = freshSpool(t);
  const large = Array.from({ length: limits.claimLookAhead + 1 }, (_, number) => `large-${number}`);
  fill(spool, ...large, 'a', 'b', 'c');
  resize(spool, Object.fromEntries(large.map((eximId) => [eximId, 2 * MiB])));
  assert.deepEqual(take(spool, { messages: 2, bytes: MiB }), ['a']);
});

test('what is held is not claimed, and neither is what is finished', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'a');
  const { id } = enqueue(spool, handOver({ eximId: 'held' }), NOW);
  const deleted = enqueue(spool, handOver({ eximId: 'deleted' }), NOW);
  operate(spool, id, { verb: 'hold', now: NOW });
  operate(spool, deleted.id, { verb: 'delete', now: NOW });
  assert.deepEqual(take(spool, ample), ['a']);
});

test('only recipients that are still pending are claimed, and the first post is remembered', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver({ recipients: ['a@x', 'b@x', 'c@x'] }), NOW);
  const [first] = spool.transaction(() => claim(spool, { bypassBytes: 0, ...ample }, NOW + 1));
  assert.equal(first?.id, id);
  const verdicts = [
    { position: 0, state: 'sent' as const, status: '2.0.0', reason: 'ok' },
    { position: 2, state: 'failed' as const, status: '5.1.1', reason: 'no' },
  ];
  const rest = {
    charged: true,
    warnings: 0,
    dueAt: NOW + 2,
    lastStatus: '2.0.0',
    lastReason: 'ok',
  };
  spool.transaction(() => record(spool, [{ seq: first?.seq ?? 0, verdicts, ...rest }], NOW + 2));
  const [second] = spool.transaction(() => claim(spool, { bypassBytes: 0, ...ample }, NOW + 3));
  assert.deepEqual(second?.recipients, [{ position: 1, address: 'b@x' }]);
  assert.deepEqual([second?.attempts, second?.deferrals], [1, 1]);
  const posted = spool.sql<{ at: number }>('SELECT posted_at AS at FROM message').get();
  assert.equal(posted?.at, NOW + 1);
});

test('a claim notes the proxy, but keeps one that has not answered for the message (law 6)', (t) => {
  const spool = freshSpool(t);
  const url = 'https://proxy.example.org/';
  fill(spool, 'new', 'unanswered', 'damaged');
  const before = proxyNumber(spool, { url, ledger: 'one' }, NOW);
  const postedTo = proxyNumber(spool, { url, ledger: 'two' }, NOW);
  const set = spool.sql('UPDATE message SET posted_to = ? WHERE exim_id = ?');
  set.run(before, 'unanswered');
  set.run(99, 'damaged'); // There is no such proxy.
  const claimed = spool.transaction(() =>
    claim(spool, { bypassBytes: 0, ...ample }, NOW + MINUTE, { postedTo }),
  );
  assert.deepEqual(
    claimed.map(({ unansweredBy }) => unansweredBy),
    [undefined, { url, ledger: 'one' }, undefined],
  );
  const numbers = spool.db.prepare('SELECT posted_to FROM message ORDER BY seq').pluck().all();
  assert.deepEqual(numbers, [postedTo, before, postedTo]);
});

test('a lifetime begins with the first post, and an operator begins it anew (law 5)', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  recordDown(spool, 'refused', NOW + MINUTE, NOW + MINUTE);
  const claimAt = (now: number) => {
    const [claimed] = spool.transaction(() => claim(spool, { bypassBytes: 0, ...ample }, now));
    recoverClaimed(spool, now);
    return [claimed?.renewedAt, claimed?.outageMs];
  };
  // However long nothing was posted, for want of a drain: that time does not count.
  assert.deepEqual(claimAt(NOW + 20 * DAY), [NOW + 20 * DAY, 20 * DAY - MINUTE]);
  assert.deepEqual(claimAt(NOW + 21 * DAY), [NOW + 20 * DAY, 20 * DAY - MINUTE]);
  operate(spool, id, { verb: 'retry', now: NOW + 22 * DAY });
  assert.deepEqual(claimAt(NOW + 23 * DAY), [NOW + 22 * DAY, 22 * DAY - MINUTE]);
});

test('what was in flight when a drain died is due again, and nothing else changes (law 7)', (t) => {
  const spool = freshSpool(t);
  fill(spool, 'a', 'b', 'c');
  const { id } = enqueue(spool, handOver({ eximId: 'held' }), NOW);
  operate(spool, id, { verb: 'hold', now: NOW });
  take(spool, { messages: 2, bytes: MiB });
  spool.close();

  const next = new Spool(spool.folder, 'drain');
  t.after(() => next.close());
  assert.equal(next.db.prepare(`SELECT * FROM message WHERE state = 'sending'`).all().length, 2);
  assert.equal(recoverClaimed(next, NOW + 5), 2);
  assert.equal(recoverClaimed(next, NOW + 6), 0);
  assert.equal(findMessages(next, id, NOW)[0]?.state, 'held');
  assert.deepEqual(take(next, ample), ['c', 'a', 'b']);
});
