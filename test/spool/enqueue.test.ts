import assert from 'node:assert/strict';
import test from 'node:test';
import { readBody } from '../../src/spool/body.ts';
import { recordDown } from '../../src/spool/endpoint.ts';
import { enqueue, type HandOver } from '../../src/spool/enqueue.ts';
import { findMessages } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;
const DAY = 86_400_000;
const [A, B, C, D] = ['a@example.org', 'b@example.org', 'c@example.org', 'd@example.org'];

function store(spool: Spool, ...given: Parameters<typeof handOver>) {
  const { id, already } = enqueue(spool, handOver(...given), NOW);
  return { id, already };
}

function recipients(spool: Spool, id: string): string[] | undefined {
  return findMessages(spool, id, NOW)[0]?.recipients.map(({ address }) => address);
}

function bytesOf(spool: Spool, id: string): Buffer {
  const { seq, size } = findMessages(spool, id, NOW)[0] ?? { seq: 0, size: 0 };
  return Buffer.concat([...readBody(spool, seq, size)]);
}

test('what is stored is what was handed over, envelope and bytes apart (law 3, law 4)', (t) => {
  const spool = freshSpool(t);
  const bytes = Buffer.from(Array.from({ length: 5000 }, (_, place) => (place * 7) % 256));
  const sender = 'f\udcfc@example.com';
  const before = Date.now();
  const { id, already } = store(spool, {
    eximId: 'x-1',
    sender,
    recipients: [B, A],
    message: bytes,
  });
  assert.equal(already, false);
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.deepEqual(bytesOf(spool, id), bytes);
  const { recipients: stored, queuedAt = 0, ...message } = findMessages(spool, id, NOW)[0] ?? {};
  assert.ok(queuedAt >= before && queuedAt <= Date.now(), 'the time of day');
  assert.deepEqual(message, {
    seq: 1,
    id,
    eximId: 'x-1',
    state: 'queued',
    sender,
    size: 5000,
    dueAt: NOW,
    attempts: 0,
    lastStatus: null,
    lastReason: null,
    finishedAt: null,
    expiresAt: NOW + 5 * DAY,
  });
  assert.deepEqual(
    stored,
    [B, A].map((address) => ({ address, state: 'pending', status: null, reason: null })),
  );
});

test('a message of no bytes, from nobody, is a message (law 3)', (t) => {
  const spool = freshSpool(t);
  const { id } = store(spool, { sender: '', message: '' });
  assert.deepEqual(bytesOf(spool, id), Buffer.alloc(0));
  assert.equal(findMessages(spool, id, NOW)[0]?.sender, '');
});

test('the same hand-over again stores nothing and says under which id it is known (law 2)', (t) => {
  const spool = freshSpool(t);
  const first = store(spool, { recipients: [A, B] });
  for (const again of [[A, B], [B, A], [B], [A, A]]) {
    assert.deepEqual(store(spool, { recipients: again }), { id: first.id, already: true });
  }
  assert.equal(stats(spool).counters.accepted, 1);
});

test('of a hand-over that is partly known only the new recipients are stored (law 2)', (t) => {
  const spool = freshSpool(t);
  const first = store(spool, { recipients: [A] });
  const second = store(spool, { recipients: [C, A, B] });
  assert.equal(second.already, false);
  assert.notEqual(second.id, first.id);
  assert.deepEqual(recipients(spool, first.id), [A]);
  assert.deepEqual(recipients(spool, second.id), [C, B]);
  assert.deepEqual(store(spool, { recipients: [B, A] }), { id: second.id, already: true });
  assert.deepEqual(store(spool, { recipients: [A, B] }), { id: first.id, already: true });
  const third = store(spool, { recipients: [A, B, D] });
  assert.equal(third.already, false);
  assert.deepEqual(recipients(spool, third.id), [D]);
});

test('another Exim id, or other bytes, is another message (law 2)', (t) => {
  const spool = freshSpool(t);
  const ids = [
    store(spool, { eximId: 'x-1', message: 'one' }),
    store(spool, { eximId: 'x-2', message: 'one' }),
    store(spool, { eximId: 'x-1', message: 'two' }),
    store(spool, { eximId: 'X-1', message: 'one' }),
  ].map(({ id, already }) => {
    assert.equal(already, false);
    return id;
  });
  assert.equal(new Set(ids).size, 4);
});

test('addresses are octets: another case, or another encoding, is another recipient (law 2)', (t) => {
  const spool = freshSpool(t);
  const all = [
    'a@example.org',
    'A@example.org',
    'ü@example.org',
    'u\u0308@example.org',
    '\udcfc@x',
  ];
  const { id } = store(spool, { recipients: all });
  assert.deepEqual(recipients(spool, id), all);
  assert.deepEqual(store(spool, { recipients: all.toReversed() }), { id, already: true });
});

test('a recipient that is named twice is stored once', (t) => {
  const spool = freshSpool(t);
  const { id } = store(spool, { recipients: [A, B, A] });
  assert.deepEqual(recipients(spool, id), [A, B]);
});

test('it is known whatever became of it, and by every program that opens the spool (law 2)', (t) => {
  const spool = freshSpool(t);
  const held = store(spool, { eximId: 'held' });
  const deleted = store(spool, { eximId: 'deleted' });
  operate(spool, held.id, { verb: 'hold', now: NOW });
  operate(spool, deleted.id, { verb: 'delete', now: NOW });
  const pipe = new Spool(spool.folder, 'pipe');
  t.after(() => pipe.close());
  assert.deepEqual(store(pipe, { eximId: 'held' }), { id: held.id, already: true });
  assert.deepEqual(store(pipe, { eximId: 'deleted' }), { id: deleted.id, already: true });
});

test('an outage from before it was queued does not lengthen its life', (t) => {
  const spool = freshSpool(t);
  recordDown(spool, 'refused', NOW - DAY, NOW);
  const { id } = store(spool);
  assert.equal(findMessages(spool, id, NOW)[0]?.expiresAt, NOW + 5 * DAY);
  assert.equal(findMessages(spool, id, NOW + DAY)[0]?.expiresAt, NOW + 6 * DAY);
});

test('a hand-over that cannot be stored leaves nothing behind, wherever it fails (law 1)', (t) => {
  const spool = freshSpool(t);
  const wrong: Partial<HandOver>[] = [
    { eximId: 'not an id' },
    { digest: Buffer.alloc(3) },
    { envelope: { sender: '', recipients: [] } },
  ];
  for (const each of wrong) {
    assert.throws(() => enqueue(spool, { ...handOver(), ...each }, NOW));
  }
  for (const table of ['message', 'body', 'recipient']) {
    spool.db.exec(
      `CREATE TEMP TRIGGER full BEFORE INSERT ON ${table} BEGIN SELECT raise(ABORT, 'full'); END`,
    );
    assert.throws(() => store(spool), /full/);
    spool.db.exec('DROP TRIGGER full');
  }
  for (const table of ['message', 'body', 'recipient']) {
    assert.deepEqual(spool.db.prepare(`SELECT * FROM ${table}`).all(), []);
  }
  assert.equal(stats(spool).counters.accepted, 0);
  assert.equal(store(spool).already, false, 'and then it can be handed over again');
});
