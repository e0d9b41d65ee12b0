import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { historyOf, addToHistory } from '../../src/spool/history.ts';
import { keepHouse } from '../../src/spool/keep-house.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;

test('an attempt is remembered with the outcome, charged or not, and what an operator did', (t) => {
  const spool = freshSpool(t);
  const before = Date.now();
  const { id } = enqueue(spool, handOver(), NOW);
  for (const charged of [true, false]) {
    spool.transaction(() => {
      claim(spool, { messages: 1, bytes: 1e6, bypassBytes: 0 }, NOW);
      const said = {
        warnings: 0,
        dueAt: NOW,
        lastStatus: '4.2.2',
        lastReason: `charged: ${charged}`,
      };
      record(spool, [{ seq: 1, verdicts: [], charged, ...said }], NOW + 1);
    });
  }
  operate(spool, id, { verb: 'hold', now: NOW + 2 });
  operate(spool, id, { verb: 'hold', now: NOW + 3 }); // It is held already: nothing happens.
  const history = historyOf(spool, 1).map(({ at, ...event }) => {
    assert.ok(at >= before && at <= Date.now(), 'the time of day');
    return event;
  });
  assert.deepEqual(history, [
    { number: 1, what: 'attempt', status: '4.2.2', reason: 'charged: true' },
    { number: 2, what: 'postponed', status: '4.2.2', reason: 'charged: false' },
    { number: 3, what: 'hold', status: null, reason: null },
  ]);
});

test('the first and the latest are kept, the numbers tell what is missing (law 11)', (t) => {
  const spool = freshSpool(t);
  enqueue(spool, handOver(), NOW);
  const { historyFirst: first, historyLatest: latest } = limits;
  const total = first + latest + 25;
  for (let number = 1; number <= total; number += 1) {
    addToHistory(spool, { seq: 1, what: 'hold' });
  }
  const history = historyOf(spool, 1);
  assert.deepEqual(
    history.map(({ number }) => number),
    Array.from({ length: first + latest }, (_, nth) => (nth < first ? nth + 1 : nth + 1 + 25)),
  );
});

test('the history goes with the message', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  operate(spool, id, { verb: 'delete', now: NOW });
  assert.equal(historyOf(spool, 1).length, 1);
  while (keepHouse(spool, NOW + limits.historyMs + 1));
  assert.equal(spool.db.prepare('SELECT count(*) FROM history').pluck().get(), 0);
});
