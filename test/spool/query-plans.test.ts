import assert from 'node:assert/strict';
import test from 'node:test';
import { enqueue } from '../../src/spool/enqueue.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { plansOf } from '../support/plans-of.ts';
import { NOW, spoolOperations } from '../support/spool-operations.ts';

/**
 * A table of one row or a fixed few may be read whole, also the rows that a statement is given or makes itself, and the
 * index of what is listed, or of notices, from its beginning, for the first that fits; nothing else may, and nothing may
 * be sorted but the recipients of one message (the last term of a summary's order).
 */
const wholeTable =
  /^SCAN (?!counter$|endpoint$|figure$|(?:proxy|old|outcome)\b|json_each VIRTUAL|message USING INDEX message_listed$|notice USING COVERING INDEX notice_due$)/;
const sorted = /TEMP B-TREE FOR (?!LAST TERM OF ORDER BY).*ORDER BY/;

for (const [verb, run] of Object.entries(spoolOperations)) {
  test(`${verb} finds its rows by an index and sorts none (law 11)`, async (t) => {
    const spool = freshSpool(t);
    const { id } = enqueue(spool, handOver(), NOW);
    // What the first message prepared is forgotten with its Spool: every statement is seen.
    spool.sql = (text) => spool.db.prepare(text) as ReturnType<typeof spool.sql<never>>;
    const plans = await plansOf(spool.db.name, () => run(spool, id));
    assert.ok(plans.length > 0);
    for (const { sql, steps } of plans) {
      for (const step of steps) {
        assert.doesNotMatch(step, wholeTable, sql);
        assert.doesNotMatch(step, sorted, sql);
      }
      // SQLite puts the same subquery into each place that uses its result, unless it is materialized.
      const subqueries = steps.filter((step) => step.startsWith('CORRELATED SCALAR'));
      const isOfBatch = sql.includes('json_each(:rows)');
      assert.ok(!isOfBatch || new Set(subqueries).size === subqueries.length, sql);
    }
  });
}
