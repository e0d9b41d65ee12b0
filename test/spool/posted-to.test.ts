import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { giveUpProxies, proxyNumber, type PostedTo } from '../../src/spool/posted-to.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;
const LONG = limits.ledgerGoneMs;

/** Notes that this URL showed that ledger at this time. */
function show(spool: Spool, url: string, ledger: string | null, at: number): number {
  return spool.transaction(() => proxyNumber(spool, { url, ledger }, at));
}

/** Queues a message that was posted to a proxy and got no answer. */
function postWithoutAnswer(spool: Spool, proxy: PostedTo): void {
  enqueue(spool, handOver({ eximId: `to-${proxy.url}` }), NOW);
  const number = show(spool, proxy.url, proxy.ledger, NOW);
  spool.sql(`UPDATE message SET posted_to = ? WHERE posted_to IS NULL`).run(number);
}

/** As a drain that has been at work for long sees it. */
const givenUp = (spool: Spool, urls: string[], now: number, inUseSince = NOW - 2 * LONG) =>
  giveUpProxies(spool, { urls, inUseSince }, now).map(({ url }) => url);

test('law 6: what a proxy may have sent waits while another one has its ledger, also when its own URL shows a new one', (t) => {
  const spool = freshSpool(t);
  show(spool, 'b', 'shared', NOW);
  postWithoutAnswer(spool, { url: 'a', ledger: 'shared' });
  show(spool, 'a', 'new', NOW + 1);
  const later = NOW + LONG + 1;
  assert.deepEqual(givenUp(spool, ['a', 'b'], later), [], 'b has the ledger');
  assert.deepEqual(givenUp(spool, ['b'], later), [], 'although a is not listed any more');
  show(spool, 'a', 'new', NOW + 1);
  show(spool, 'b', 'other', later);
  assert.deepEqual(givenUp(spool, ['a', 'b'], later), [], 'b may show it again');
  assert.deepEqual(givenUp(spool, ['a', 'b'], later + LONG), ['a']);
});

test('what waits for a ledger is let go when its URL has shown another one for long, or when the operator removed the URL', (t) => {
  const spool = freshSpool(t);
  postWithoutAnswer(spool, { url: 'a', ledger: 'one' });
  show(spool, 'a', 'two', NOW + 1);
  assert.deepEqual(givenUp(spool, ['a'], NOW + LONG), []);
  assert.deepEqual(givenUp(spool, ['a'], NOW + LONG + 1), ['a']);
  const claimed = spool.transaction(() =>
    claim(spool, { messages: 1, bytes: 1e6, bypassBytes: 1e6 }, NOW + LONG + 1),
  );
  assert.deepEqual(
    claimed.map(({ unansweredBy }) => unansweredBy),
    [undefined],
  );

  const other = freshSpool(t);
  show(other, 'b', 'three', NOW);
  postWithoutAnswer(other, { url: 'a', ledger: 'one' });
  assert.deepEqual(givenUp(other, ['a', 'b'], NOW), []);
  assert.deepEqual(givenUp(other, ['b'], NOW), ['a']);
});

test('a proxy that showed no ledger is waited for by its URL, whatever it shows later', (t) => {
  const spool = freshSpool(t);
  postWithoutAnswer(spool, { url: 'a', ledger: null });
  show(spool, 'a', 'one', NOW + 1);
  assert.deepEqual(givenUp(spool, ['a'], NOW + 2 * LONG), []);
  assert.deepEqual(givenUp(spool, ['b'], NOW + 2 * LONG), ['a']);
});

test('law 6: a URL that is written in another way is waited for until it tells its ledger, as long as a lost ledger', (t) => {
  const spool = freshSpool(t);
  show(spool, 'b', 'two', NOW);
  postWithoutAnswer(spool, { url: 'a', ledger: 'one' });
  const urls = ['A', 'b'];
  assert.deepEqual(givenUp(spool, urls, NOW, NOW), [], 'A was not asked yet');
  assert.deepEqual(givenUp(spool, urls, NOW + LONG, NOW), ['a'], 'A does not answer');

  const renamed = freshSpool(t);
  postWithoutAnswer(renamed, { url: 'a', ledger: 'one' });
  assert.deepEqual(givenUp(renamed, ['A'], NOW, NOW), []);
  show(renamed, 'A', 'one', NOW);
  assert.deepEqual(givenUp(renamed, ['A'], NOW + 2 * LONG, NOW), [], 'it has the ledger');
});
