import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { enqueue } from '../../src/spool/enqueue.ts';
import { spoolFile } from '../../src/spool/spool.ts';
import { figures, LONG } from '../support/figures.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { pagesOf } from '../support/pages-of.ts';
import { spoolWork } from '../support/spool-work.ts';

const FEW = 1000;
const MANY = LONG ? 1_000_000 : 50_000;
const NOW = 1_800_000_000_000;

test(
  `law 11: ${MANY} queued cost no more pages of the spool than ${FEW}, but for the height of its trees`,
  { timeout: 1_200_000 },
  async (t) => {
    const few = await measured(t, FEW);
    const many = await measured(t, MANY);
    for (const [what, { read, written }] of few) {
      const most = many.get(what) ?? { read: NaN, written: NaN };
      const manyRead = most.read;
      figures(t, what, { read, manyRead, written, manyWritten: most.written });
      // A tree is one page higher for some hundred times the rows; who looks at all reads thousands.
      // One more page is the clock's, which is written when a millisecond has passed since it was written last.
      assert.ok(most.read <= 2 * read && most.written <= 2 * written + 1, what);
    }
  },
);

test('of a hundred small hand-overs, one at most waits while the log is copied into the file', (t) => {
  const spool = freshSpool(t);
  const changedAt = () => statSync(spoolFile(spool.folder), { bigint: true }).mtimeNs;
  let copied = 0;
  for (let nth = 0; nth < 600; nth += 1) {
    const before = changedAt();
    enqueue(spool, handOver({ eximId: `log-${nth}` }), NOW);
    if (changedAt() !== before) copied += 1;
  }
  assert.ok(copied > 0 && copied <= 6, `${copied} of 600`);
});

async function measured(t: TestContext, rows: number) {
  const spool = freshSpool(t);
  fillSpool(spool, rows, { now: NOW });
  spool.db.pragma('wal_autocheckpoint = 0'); // It would copy pages at some moment or other.
  const found = new Map<string, Awaited<ReturnType<typeof pagesOf>>>();
  for (const [what, work] of Object.entries(spoolWork)) {
    work(spool, 900, NOW); // Prepares the statements.
    spool.db.pragma('shrink_memory'); // Empties the cache.
    found.set(what, await pagesOf(() => work(spool, 901, NOW)));
  }
  return found;
}
