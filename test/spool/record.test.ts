import assert from 'node:assert/strict';
import test from 'node:test';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { historyOf } from '../../src/spool/history.ts';
import { record } from '../../src/spool/record.ts';
import { readSmallBodies } from '../../src/spool/body.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;

function fill(spool: Spool, count: number): void {
  for (let nth = 0; nth < count; nth += 1) enqueue(spool, handOver({ eximId: `x-${nth}` }), NOW);
}

/** A claim of so many messages, and what records that each of them was sent. */
function claimed(spool: Spool, count: number) {
  const room = { messages: count, bytes: 1e9, bypassBytes: 0 };
  const messages = spool.transaction(() => claim(spool, room, NOW));
  assert.equal(messages.length, count);
  const sent = { state: 'sent', status: '2.0.0', reason: 'ok' } as const;
  const rest = { charged: true, warnings: 0, dueAt: NOW, lastStatus: '2.0.0', lastReason: 'ok' };
  const outcomes = messages.map(({ seq, recipients }) => ({
    seq,
    verdicts: recipients.map(({ position }) => ({ position, ...sent })),
    ...rest,
  }));
  return { messages, outcomes };
}

test('to claim, read and record many messages takes as many statements as one does', (t) => {
  const statementsFor = (count: number) => {
    const spool = freshSpool(t);
    fill(spool, count);
    let statements = 0;
    const sql = spool.sql.bind(spool);
    spool.sql = <Row>(text: string) => {
      statements += 1; // Each is asked for when it is run.
      return sql<Row>(text);
    };
    const { messages, outcomes } = claimed(spool, count);
    assert.equal(readSmallBodies(spool, messages).size, count);
    spool.transaction(() => record(spool, outcomes, NOW));
    return statements;
  };
  const one = statementsFor(1);
  assert.ok(one < 12, `${one}`);
  assert.equal(statementsFor(64), one);
});

test('what the proxy says is stored as it said it, as far as UTF-8 can write it', (t) => {
  const spool = freshSpool(t);
  fill(spool, 1);
  const { outcomes } = claimed(spool, 1);
  const reason = `"quoted" \\ud800 \u0000 \u{1f4e7} é \ud800 [1, {"a": null}]`;
  const [outcome] = outcomes;
  assert.ok(outcome);
  const verdicts = outcome.verdicts.map((verdict) => ({ ...verdict, reason, remoteMta: reason }));
  spool.transaction(() => record(spool, [{ ...outcome, verdicts, lastReason: reason }], NOW));
  const read = (sql: string) => spool.db.prepare(sql).pluck().get();
  for (const sql of [
    'SELECT reason FROM recipient',
    'SELECT remote_mta FROM recipient',
    'SELECT last_reason FROM message',
  ]) {
    assert.equal(read(sql), reason.toWellFormed(), sql);
  }
  assert.equal(historyOf(spool, 1)[0]?.reason, reason.toWellFormed());
});

test('a message that has lost its recipients is named, and nothing is recorded', (t) => {
  const spool = freshSpool(t);
  fill(spool, 2);
  const { outcomes } = claimed(spool, 2);
  spool.db.exec('DELETE FROM recipient WHERE message = 2');
  const act = () => spool.transaction(() => record(spool, outcomes, NOW));
  assert.throws(act, /message 2 of the spool has lost its recipients/);
  assert.equal(spool.db.prepare('SELECT sum(attempts) FROM message').pluck().get(), 0);
});
