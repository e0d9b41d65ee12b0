import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { figures, LONG } from '../support/figures.ts';
import { pagesOf, type Pages } from '../support/pages-of.ts';
import { plansOf } from '../support/plans-of.ts';
import { scratch } from '../support/scratch.ts';

const FEW = 1000;
const MANY = LONG ? 1_000_000 : 50_000;
const NOW = 1_800_000_000_000;

test('the ledger finds its rows by an index and sorts none (law 11)', async (t) => {
  const file = join(scratch(t), 'ledger.db');
  const plans = await plansOf(file, async () => {
    const ledger = new SqliteLedger(file);
    await work(ledger, '1');
    ledger.prune(NOW);
    ledger.close();
  });
  assert.ok(plans.length > 5);
  // One row (checked, identity), limits.ledgerGaps, the few that a crash left, as an index has no others, and limits.unknownCounted.
  const few =
    /^SCAN (?:checked|identity|CONSTANT ROW|gap(?: EXISTS)?|unknown USING COVERING INDEX unknown_at|\(subquery-1\)|recipient USING (?:COVERING )?INDEX recipient_begun)$/;
  for (const { sql, steps } of plans) {
    const wrong = steps.filter((step) => /^SCAN|TEMP B-TREE/.test(step) && !few.test(step));
    if (!sql.endsWith('LIMIT 1')) assert.deepEqual(wrong, [], sql);
  }
});

test(
  `law 11: a ledger of ${MANY} costs no more pages than one of ${FEW}, but for the height of its trees`,
  { timeout: 600_000 },
  async (t) => {
    const [few, many] = [await measured(t, FEW), await measured(t, MANY)];
    figures(t, 'a post in the ledger', {
      read: few.read,
      manyRead: many.read,
      written: few.written,
      manyWritten: many.written,
    });
    assert.ok(few.read > 0 && many.read <= 3 * few.read && many.written <= 3 * few.written);
  },
);

async function measured(t: TestContext, rows: number): Promise<Pages> {
  const file = join(scratch(t), 'ledger.db');
  new SqliteLedger(file).close();
  const db = new Database(file);
  const numbers = `WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < ${rows})`;
  db.exec(`${numbers} INSERT INTO message (id, digest, at)
    SELECT lower(hex(randomblob(16))), randomblob(32), ${NOW} FROM number`);
  db.exec(`INSERT INTO recipient SELECT id, 'r@example.org', 'sent', '2.0.0', 'ok' FROM message`);
  db.close();
  const ledger = new SqliteLedger(file);
  const pages = await pagesOf(async () => work(ledger, '7'));
  ledger.close();
  return pages;
}

/** What a post with a named key does, and its repeat. */
async function work(ledger: SqliteLedger, digit: string): Promise<void> {
  const [message, digest] = [{ key: 'web1', id: digit.repeat(32) }, Buffer.alloc(32)];
  const address = 'r@example.org';
  await ledger.begin(message, digest, [address]);
  await ledger.settle(message, [{ address, kind: 'sent', status: '2.0.0', reason: 'ok' }]);
  const known = await ledger.known(message, [address], digest);
  assert.equal(known.get(address)?.status, '2.0.0');
}
