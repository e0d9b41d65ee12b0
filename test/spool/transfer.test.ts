import assert from 'node:assert/strict';
import test from 'node:test';
import { enqueue } from '../../src/spool/enqueue.ts';
import { confirmExported, readExported, takeBack, takeOut } from '../../src/spool/export.ts';
import { limits } from '../../src/limits.ts';
import { importMessages } from '../../src/spool/import.ts';
import { hold } from '../../src/spool/recover/repair.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { beginTransfer } from '../../src/spool/transfer.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { plansOf } from '../support/plans-of.ts';

const NOW = 3_000_000_000;

function export1(spool: Spool, name: string, id: string) {
  const { number } = beginTransfer(spool, 'export', name, name.repeat(32));
  assert.deepEqual(takeOut(spool, number, [id]), ['done']);
  const { bytes, ...message } = readExported(spool, id, NOW);
  return { number, message: { ...message, bytes: Buffer.concat([...bytes]) } };
}

test('an import that goes on after its messages have left by another export brings none of them back (law 6)', (t) => {
  const spool = freshSpool(t);
  const other = freshSpool(t);
  const { id } = enqueue(other, handOver(), NOW);
  const { message } = export1(other, 'a', id);
  // It is cut off after this message, which moves on.
  const { number } = beginTransfer(spool, 'import', 'a', 'a'.repeat(32));
  const circumstances = { now: NOW, transitMs: 0 };
  assert.deepEqual(importMessages(spool, number, [message], circumstances), ['imported']);
  const next = export1(spool, 'b', id);
  for (const confirmed of [0, 1]) {
    assert.deepEqual(importMessages(spool, number, [message], circumstances), ['known']);
    assert.equal(confirmExported(spool, next.number, [next.message], NOW), 1 - confirmed);
  }
  // But what comes from there later is brought back.
  const { number: later } = beginTransfer(spool, 'import', 'c', 'c'.repeat(32));
  assert.deepEqual(importMessages(spool, later, [message], circumstances), ['imported']);
});

test('recipients that join a message which waits here have it held, where the file has it held (law 6)', (t) => {
  for (const [fromFile, circumstances] of [
    [{ held: true }, { now: NOW, transitMs: 0 }],
    [{ postedMs: 0 }, { now: NOW, transitMs: limits.renewalMs + 1 }],
  ] as const) {
    const [spool, other] = [freshSpool(t), freshSpool(t)];
    const { id } = enqueue(other, handOver(), NOW);
    const { message } = export1(other, 'a', id);
    const { number } = beginTransfer(spool, 'import', 'a', 'a'.repeat(32));
    const now = { now: NOW, transitMs: 0 };
    assert.deepEqual(importMessages(spool, number, [message], now), ['imported']);
    const { number: more } = beginTransfer(spool, 'import', 'b', 'b'.repeat(32));
    const joined = { ...message, ...fromFile, recipients: [Buffer.from('one.more@example.org')] };
    assert.deepEqual(importMessages(spool, more, [joined], circumstances), ['held']);
    const state = spool.sql<{ state: string }>('SELECT state FROM message').get()?.state;
    assert.equal(state, 'held');
  }
});

test('a message that comes back is held when it was first posted here so long ago that the proxy may have forgotten it, whatever the file says (law 6)', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  spool.sql('UPDATE message SET posted_at = ?').run(NOW);
  const { number, message } = export1(spool, 'a', id);
  assert.equal(confirmExported(spool, number, [message], NOW), 1);
  // The other host was off meanwhile: its observed time stood still, and its file is new.
  const later = NOW + limits.renewalMs + 1;
  const { number: back } = beginTransfer(spool, 'import', 'b', 'b'.repeat(32));
  const circumstances = { now: later, transitMs: 0 };
  const young = { ...message, postedMs: 1000 };
  assert.deepEqual(importMessages(spool, back, [young], circumstances), ['held']);
});

test('an export that is taken back leaves held what a repair holds meanwhile (law 6)', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  const { number } = beginTransfer(spool, 'export', 'a', 'a'.repeat(32));
  assert.deepEqual(takeOut(spool, number, [id]), ['done']);
  hold(spool.db, { held: new Set(), notes: [] }, 1, 'its id is one or another');
  assert.equal(takeBack(spool, number, NOW), 1);
  const state = spool.sql<{ state: string }>('SELECT state FROM message').get()?.state;
  assert.equal(state, 'held');
});

test('another message of the same id is not imported', (t) => {
  const [spool, other] = [freshSpool(t), freshSpool(t)];
  const { id } = enqueue(other, handOver(), NOW);
  const { message } = export1(other, 'a', id);
  const { number } = beginTransfer(spool, 'import', 'a', 'a'.repeat(32));
  const circumstances = { now: NOW, transitMs: 0 };
  assert.deepEqual(importMessages(spool, number, [message], circumstances), ['imported']);
  const lie = { ...message, eximId: 'another' };
  assert.deepEqual(importMessages(spool, number, [lie], circumstances), ['other']);
});

test('export and import find their rows by an index (law 11)', async (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  spool.sql = (text) => spool.db.prepare(text) as ReturnType<typeof spool.sql<never>>;
  const plans = await plansOf(spool.db.name, () => {
    const { number, message } = export1(spool, 'a', id);
    confirmExported(spool, number, [message], NOW);
    const { number: back } = beginTransfer(spool, 'import', 'b', 'b'.repeat(32));
    importMessages(spool, back, [message], { now: NOW, transitMs: 0 });
  });
  for (const { sql, steps } of plans) {
    for (const step of steps)
      assert.doesNotMatch(step, /^SCAN (?!endpoint$|counter$|clock$|json_each VIRTUAL)/, sql);
  }
});
