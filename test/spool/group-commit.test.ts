import assert from 'node:assert/strict';
import test from 'node:test';
import { GroupCommit } from '../../src/sqlite/group-commit.ts';
import { freshSpool } from '../support/fresh-spool.ts';

test('what is asked for in this turn of the event loop and in the next is one transaction, in which each may fail alone', async (t) => {
  const spool = freshSpool(t);
  let transactions = 0;
  const commits = new GroupCommit(() => ({
    db: spool.db,
    transaction: (action) => {
      transactions += 1;
      return spool.transaction(action);
    },
  }));
  const insert = (name: string) =>
    spool.sql(`INSERT INTO proxy (url, ledger, since) VALUES (?, '', 0)`).run(name);
  const first = commits.commit(() => insert('first'));
  const refused = commits.commit(() => {
    insert('refused');
    throw new Error('this one alone');
  });
  const later = new Promise<void>((resolve, reject) => {
    setImmediate(() => void commits.commit(() => insert('later')).then(() => resolve(), reject));
  });
  await assert.rejects(refused, /this one alone/);
  await Promise.all([first, later]);
  assert.equal(transactions, 1);
  const urls = spool.sql<{ url: string }>('SELECT url FROM proxy ORDER BY url').all();
  assert.deepEqual(
    urls.map(({ url }) => url),
    ['first', 'later'],
  );
});
