import assert from 'node:assert/strict';
import test from 'node:test';
import { claim, nextDueAt, recoverClaimed, undoClockStep } from '../../src/spool/claim.ts';
import { limits } from '../../src/mail/limits.ts';
import { readBody } from '../../src/spool/body.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { historyOf, remember } from '../../src/spool/history.ts';
import { keepHouse } from '../../src/spool/keep-house.ts';
import { findMessages, listMessages } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import type { MessageState, Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;

/** How SQLite runs every statement that the action makes of the spool. */
function plansOf(spool: Spool, action: () => void): { sql: string; steps: string[] }[] {
  const { db } = spool;
  const statements = new Set<string>();
  const prepare = db.prepare.bind(db);
  db.prepare = (sql: string) => {
    statements.add(sql);
    return prepare(sql);
  };
  action();
  db.prepare = prepare;
  return [...statements].map((sql) => {
    const names = [...sql.matchAll(/:(\w+)/g)].map(([, name]) => [name ?? '', 1]);
    const values = names.length > 0 ? [Object.fromEntries(names)] : (sql.match(/\?/g) ?? []);
    const rows = prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).all(...values);
    return { sql, steps: rows.map(({ detail }) => detail) };
  });
}

/**
 * A table of one row or a fixed few may be read whole, and the index of what is listed from its
 * beginning, for the first that fits; nothing else may, and nothing may be sorted.
 */
const wholeTable = /^SCAN (?!counter$|endpoint$|message USING INDEX message_listed$)/;
const sorted = /TEMP B-TREE FOR .*ORDER BY/;

const everyState: MessageState[] = ['queued', 'sending', 'held', 'failed', 'sent', 'deleted'];
const lists = [undefined, ...everyState.map((state) => [state]), everyState];

const verbs: Record<string, (spool: Spool, id: string) => void> = {
  enqueue: (spool) => enqueue(spool, handOver({ eximId: 'another' }), NOW),
  claim: (spool) =>
    spool.transaction(() => claim(spool, { messages: 2, bytes: 1e6, passingBytes: 0 }, NOW)),
  nextDueAt: (spool) => nextDueAt(spool, NOW),
  recoverClaimed: (spool) => recoverClaimed(spool, NOW),
  undoClockStep: (spool) => undoClockStep(spool, NOW),
  readBody: (spool) => [...readBody(spool, 1, 18)],
  record: (spool) => {
    const verdicts = [{ position: 0, state: 'sent' as const, status: '2.0.0', reason: 'ok' }];
    const rest = { charged: false, warnings: 0, dueAt: NOW, lastStatus: '2.0.0', lastReason: 'ok' };
    spool.transaction(() => record(spool, { seq: 1, verdicts, ...rest }, NOW));
  },
  hold: (spool, id) => operate(spool, 'hold', id, NOW),
  release: (spool, id) => {
    operate(spool, 'hold', id, NOW);
    operate(spool, 'release', id, NOW);
  },
  retry: (spool, id) => operate(spool, 'retry', id, NOW),
  bounce: (spool, id) => operate(spool, 'bounce', id, NOW),
  delete: (spool, id) => operate(spool, 'delete', id, NOW),
  return: (spool, id) => {
    operate(spool, 'return', id, NOW);
    operate(spool, 'returned', id, NOW);
  },
  remember: (spool) => {
    const kept = limits.historyFirst + limits.historyLatest;
    for (let nth = 0; nth <= kept; nth += 1) remember(spool, 1, { at: NOW, what: 'hold' });
    historyOf(spool, 1);
  },
  findMessages: (spool, id) => findMessages(spool, id, NOW)[0],
  keepHouse: (spool) => keepHouse(spool, NOW),
  stats: (spool) => stats(spool),
  list: (spool) => {
    for (const states of lists) listMessages(spool, { states }, NOW).next();
  },
};
for (const [verb, run] of Object.entries(verbs)) {
  test(`${verb} finds its rows by an index and sorts none (law 11)`, (t) => {
    const spool = freshSpool(t);
    const { id } = enqueue(spool, handOver(), NOW);
    // What the first message prepared is forgotten with its Spool: every statement is seen.
    spool.sql = (text) => spool.db.prepare(text) as ReturnType<typeof spool.sql<never>>;
    const plans = plansOf(spool, () => run(spool, id));
    assert.ok(plans.length > 0);
    for (const { sql, steps } of plans) {
      for (const step of steps) {
        assert.doesNotMatch(step, wholeTable, sql);
        assert.doesNotMatch(step, sorted, sql);
      }
    }
  });
}
