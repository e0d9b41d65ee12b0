import assert from 'node:assert/strict';
import test from 'node:test';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { pruneLedgerLoop } from '../../src/proxy/ledger/prune-ledger-loop.ts';
import { ControlledDeliverer } from '../support/controlled-deliverer.ts';

test('much that is old is pruned in steps, with time for mail between them, until stopped', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const count = () => proxy.rows('message').length;
  const ids = Array.from({ length: 1200 }, (_, number) => `id-${number}`);
  await Promise.all(
    ids.map(async (id) => proxy.ledger.begin({ key: '', id }, Buffer.alloc(32), [])),
  );
  proxy.restart({ after: 31 * 86_400_000 });
  const { ledger } = proxy;
  const lines: string[] = [];
  const stop = new AbortController();
  const done = pruneLedgerLoop(
    ledger,
    proxyJournal(({ text }) => lines.push(text)),
    stop.signal,
  );
  assert.equal(count(), 700, 'one step at once');
  while (count() === 700) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(count(), 200, 'another one later');
  stop.abort();
  await done;
  assert.equal(count(), 200);
  assert.deepEqual(lines, []);
});

test('a ledger that cannot be pruned is told, once each time', async (t) => {
  const { ledger } = new ControlledDeliverer(t);
  t.mock.method(ledger, 'prune', () => {
    throw new Error('disk is sick');
  });
  const lines: string[] = [];
  const stop = new AbortController();
  const done = pruneLedgerLoop(
    ledger,
    proxyJournal(({ text }) => lines.push(text)),
    stop.signal,
  );
  stop.abort();
  await done;
  assert.deepEqual(lines, [
    'attention: what is older than 30 days cannot be removed from the ledger: disk is sick',
  ]);
});
