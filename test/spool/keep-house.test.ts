import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { hasBody } from '../../src/spool/body.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { keepHouse } from '../../src/spool/keep-house.ts';
import { findMessages } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { finish } from '../../src/spool/record.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;
const DAY = 86_400_000;

/** Does all there is to do; returns in how many steps. */
function keepAll(spool: Spool, now: number): number {
  let steps = 1;
  while (keepHouse(spool, now)) steps += 1;
  return steps;
}

/** Stores a message that is finished at once, and returns its number and id. */
function finished(
  spool: Spool,
  eximId: string,
  state: 'sent' | 'failed' | 'bounced' | 'deleted',
  sender = 'sender@example.com',
) {
  const { id } = enqueue(spool, handOver({ eximId, sender }), NOW);
  const seq = findMessages(spool, id, NOW)[0]?.seq ?? 0;
  const status = { sent: '2.0.0', failed: '5.1.1', bounced: '5.1.1', deleted: '4.0.0' }[state];
  spool
    .sql(`UPDATE recipient SET state = ?, status = ?, reason = 'so' WHERE message = ?`)
    .run(state, status, seq);
  finish(spool, seq, NOW);
  return { seq, id };
}

test('what is finished is remembered for 30 days, and then forgotten whole (law 2, law 8)', (t) => {
  const spool = freshSpool(t);
  const messages = (['sent', 'bounced', 'deleted'] as const).map((state) =>
    finished(spool, state, state),
  );
  keepAll(spool, NOW + 30 * DAY);
  for (const { id } of messages) assert.ok(findMessages(spool, id, NOW)[0]);
  assert.equal(enqueue(spool, handOver({ eximId: 'sent' }), NOW).already, true);

  keepAll(spool, NOW + 30 * DAY + 1);
  for (const table of ['message', 'recipient', 'body']) {
    assert.deepEqual(spool.db.prepare(`SELECT * FROM ${table}`).all(), []);
  }
  const { accepted, sent, bounced, deleted } = stats(spool).counters;
  assert.deepEqual(
    { accepted, sent, bounced, deleted },
    { accepted: 3, sent: 1, bounced: 1, deleted: 1 },
  );
  assert.equal(enqueue(spool, handOver({ eximId: 'sent' }), NOW).already, false);
});

test('the bytes of what bounced are kept for 5 days, of what is sent or deleted not at all', (t) => {
  const spool = freshSpool(t);
  const bounced = finished(spool, 'bounced', 'bounced');
  assert.equal(hasBody(spool, finished(spool, 'sent', 'sent').seq), false);
  assert.equal(hasBody(spool, finished(spool, 'deleted', 'deleted').seq), false);
  keepAll(spool, NOW + 5 * DAY);
  assert.equal(hasBody(spool, bounced.seq), true);
  keepAll(spool, NOW + 5 * DAY + 1);
  assert.equal(hasBody(spool, bounced.seq), false);
  assert.equal(findMessages(spool, bounced.id, NOW)[0]?.state, 'bounced', 'the row stays');
});

test('what failed with the null sender is kept for 5 days to be looked into, and deleted then', (t) => {
  const spool = freshSpool(t);
  const { seq, id } = finished(spool, 'failed', 'failed', '');
  keepAll(spool, NOW + 5 * DAY);
  assert.equal(findMessages(spool, id, NOW)[0]?.state, 'failed');
  assert.equal(hasBody(spool, seq), true);
  keepAll(spool, NOW + 5 * DAY + 1);
  assert.equal(findMessages(spool, id, NOW)[0]?.state, 'deleted');
  assert.equal(hasBody(spool, seq), false);
  assert.equal(stats(spool).counters.deleted, 1);
});

// dma's mail.c: the original was deleted although its bounce could not be made.
test('what failed stays whole while its sender is to be told, however long that takes', (t) => {
  const spool = freshSpool(t);
  const { seq, id } = finished(spool, 'failed', 'failed');
  assert.equal(keepAll(spool, NOW + 99 * DAY), 1, 'nothing to do');
  assert.equal(findMessages(spool, id, NOW)[0]?.state, 'failed');
  assert.equal(hasBody(spool, seq), true);
});

test('what waits is kept, however old: queued, sending and held', (t) => {
  const spool = freshSpool(t);
  const ids = ['queued', 'sending', 'held'].map(
    (eximId) => enqueue(spool, handOver({ eximId }), NOW).id,
  );
  operate(spool, ids[2] ?? '', { verb: 'hold', now: NOW });
  spool.sql(`UPDATE message SET state = 'sending', due_at = NULL WHERE id = ?`).run(ids[1]);
  assert.equal(keepAll(spool, NOW + 999 * DAY), 1, 'nothing to do');
  for (const id of ids)
    assert.equal(hasBody(spool, findMessages(spool, id, NOW)[0]?.seq ?? 0), true);
});

test('a message that failed and is retried keeps its bytes', (t) => {
  const spool = freshSpool(t);
  const { seq, id } = finished(spool, 'failed', 'failed');
  operate(spool, id, { verb: 'retry', now: NOW + DAY });
  keepAll(spool, NOW + 99 * DAY);
  assert.equal(hasBody(spool, seq), true);
});

test('one step forgets a bounded number, rows and bodies alike', (t) => {
  const spool = freshSpool(t);
  const count = 2 * limits.purgeRows + 1;
  spool.transaction(() => {
    for (let number = 0; number < count; number += 1) finished(spool, `n${number}`, 'bounced');
  });
  const rows = (table: string) => spool.db.prepare(`SELECT * FROM ${table}`).all().length;
  const left: number[] = [];
  while (keepHouse(spool, NOW + 6 * DAY)) left.push(rows('body'));
  assert.deepEqual(left, [count - 500, count - 1000, 0]);
  assert.equal(rows('message'), count);
  left.length = 0;
  while (keepHouse(spool, NOW + 31 * DAY)) left.push(rows('message'));
  assert.deepEqual(left, [count - 500, count - 1000, 0]);
});

test('free pages go back to the disk, step by step, but for a few to be used again', (t) => {
  const spool = freshSpool(t);
  const fileBytes = () => {
    spool.db.pragma('wal_checkpoint(TRUNCATE)');
    return statSync(spool.db.name).size;
  };
  const message = Buffer.alloc(10 * 1024 * 1024, 'x');
  const ids = ['a', 'b', 'c', 'd'].map(
    (eximId) => enqueue(spool, handOver({ eximId, message }), NOW).id,
  );
  const full = fileBytes();
  assert.equal(keepAll(spool, NOW), 1, 'nothing to give back');
  for (const id of ids) operate(spool, id, { verb: 'delete', now: NOW });
  assert.equal(fileBytes(), full, 'SQLite itself gives nothing back');
  assert.ok(spool.spareBytes() >= 4 * message.length);

  const stepBytes = limits.vacuumPages * Number(spool.db.pragma('page_size', { simple: true }));
  for (let before = spool.spareBytes(); keepHouse(spool, NOW); before = spool.spareBytes()) {
    assert.equal(before - spool.spareBytes(), stepBytes, 'a bounded step');
  }
  assert.ok(spool.spareBytes() <= limits.sparePagesBytes);
  assert.ok(spool.spareBytes() > limits.sparePagesBytes - stepBytes, 'some are kept');
  assert.ok(fileBytes() < full - 4 * message.length + limits.sparePagesBytes + stepBytes);
  assert.equal(spool.db.pragma('integrity_check', { simple: true }), 'ok');
});
