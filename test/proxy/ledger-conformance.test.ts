import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import {
  DigestConflictError,
  type Ledger,
  type Settlement,
} from '../../src/proxy/ledger/ledger.ts';
import type { KnownRecipient } from '../../src/proxy/ledger/read-ledger.ts';
import { postgresEngine, sqliteEngine, type LedgerPlace } from '../support/ledger-engines.ts';
import { needs } from '../support/needs.ts';

const [a, b, c] = ['a@example.org', 'b@example.org', 'c@example.org'] as const;
const DAY = 86_400_000;
const digest = Buffer.alloc(32, 7);
const other = Buffer.alloc(32, 8);
const ok = { status: '2.0.0', reason: 'ok' };

const message = (id: string, key = '') => ({ key, id });
const sent = (address: string): Settlement => ({ address, kind: 'sent', ...ok });
const refused = (address: string): Settlement => {
  return { address, kind: 'refused', status: '5.1.1', reason: 'nobody here' };
};
const unknown = (address: string): Settlement => {
  return { address, kind: 'unknown', reason: 'the line broke' };
};

/** What both kinds of ledger promise, each in a ledger of its own. */
const promises: Record<string, (place: LedgerPlace, t: TestContext) => Promise<void>> = {
  'what was sent is known, also after a restart, and is not begun again (law 6)': async (place) => {
    const first = await place.open();
    assert.equal(first.isEmpty, true);
    assert.deepEqual(await first.known(message('id'), [a, b], digest), new Map());
    assert.deepEqual(await first.begin(message('id'), digest, [a, b]), new Map());
    assert.deepEqual(
      await first.known(message('id'), [a, b], digest),
      new Map(),
      'begun by itself',
    );
    assert.deepEqual(await first.settle(message('id'), [sent(a), refused(b)]), []);
    const known = new Map([[a, ok]]);
    assert.deepEqual(await first.known(message('id'), [a, b], digest), known);
    assert.deepEqual(await first.begin(message('id'), digest, [a, b]), known);
    await first.settle(message('id'), [sent(b)]);
    await first.close();

    const second = await place.open();
    assert.equal(second.isEmpty, false);
    assert.equal(second.id, first.id);
    assert.deepEqual(second.unknown, { listed: 0, found: 0 });
    assert.deepEqual(
      await second.known(message('id'), [a, b, c], digest),
      new Map([
        [a, ok],
        [b, ok],
      ]),
    );
    assert.deepEqual(await second.known(message('id'), [a]), new Map([[a, ok]]), 'without bytes');
    await second.close();
  },

  'the same id with other bytes is refused by every method (law 6)': async (place) => {
    const ledger = await place.open();
    await ledger.begin(message('id'), digest, [a]);
    await assert.rejects(ledger.begin(message('id'), other, [b]), DigestConflictError);
    await assert.rejects(ledger.known(message('id'), [a], other), DigestConflictError);
    await ledger.settle(message('id'), [sent(a)]);
    await assert.rejects(ledger.begin(message('id'), other, [b]), DigestConflictError);
    assert.deepEqual(await ledger.known(message('id'), [a, b], digest), new Map([[a, ok]]));
    assert.deepEqual(
      await ledger.begin(message('id', 'web1'), other, [a]),
      new Map(),
      "a key's own",
    );
    await ledger.close();
  },

  'what was sent before the key had a name is known for the same bytes alone': async (place) => {
    const ledger = await place.open();
    await ledger.begin(message('id'), digest, [a, b]);
    await ledger.settle(message('id'), [sent(a), refused(b)]);
    assert.deepEqual(await ledger.known(message('id', 'web1'), [a, b], digest), new Map([[a, ok]]));
    assert.deepEqual(await ledger.known(message('id', 'web1'), [a, b], other), new Map());
    assert.deepEqual(await ledger.known(message('id', 'web1'), [a, b]), new Map());
    await ledger.close();
  },

  'an unknown outcome is listed, and the recipient is begun again (law 6)': async (place) => {
    const ledger = await place.open();
    await ledger.begin(message('id', 'web1'), digest, [a, b]);
    await ledger.settle(message('id', 'web1'), [unknown(a), { address: b, kind: 'withdrawn' }]);
    assert.deepEqual(await listed(place), [['web1', 'id', a, 'the line broke', false]]);
    assert.deepEqual(await ledger.begin(message('id', 'web1'), digest, [a, b]), new Map());
    await ledger.settle(message('id', 'web1'), [sent(a), sent(b)]);
    assert.deepEqual(await listed(place), [['web1', 'id', a, 'the line broke', true]]);
    await ledger.close();
  },

  'what a proxy leaves as begun is listed once, and begun again (law 6, law 7)': async (place) => {
    const first = await place.open();
    await first.begin(message('id'), digest, [a, b]);
    await first.settle(message('id'), [sent(a)]);
    await first.close();
    for (let start = 1; start <= 2; start += 1) await (await place.open()).close();
    const ledger = await place.open();
    assert.deepEqual(await listed(place), [
      ['', 'id', b, 'the proxy ended before the backend answered', false],
    ]);
    assert.equal(ledger.unknown.listed, 1);
    assert.deepEqual(await ledger.begin(message('id'), digest, [a, b]), new Map([[a, ok]]));
    await ledger.close();
  },

  'what is older than 30 days since the last post is forgotten, and nothing earlier (law 12)':
    async (place) => {
      const posted = await place.open();
      for (const id of ['old', 'posted-again']) {
        await posted.begin(message(id), digest, [a, b]);
        await posted.settle(message(id), [sent(a), unknown(b)]);
      }
      await posted.close();
      await place.letPass(29 * DAY);
      const after29 = await place.open();
      assert.equal(await after29.prune(), false);
      assert.equal((await after29.known(message('old'), [a], digest)).size, 1);
      await after29.begin(message('posted-again'), digest, [a]);
      await after29.close();
      await place.letPass(2 * DAY);
      const after31 = await place.open();
      assert.equal(await after31.prune(), false);
      assert.equal((await after31.known(message('old'), [a], digest)).size, 0);
      assert.equal((await after31.known(message('posted-again'), [a], digest)).size, 1);
      assert.deepEqual(await listed(place), []);
      await after31.close();
    },

  'posts at the same time share commits, and each gets its own answer': async (place) => {
    const ledger = await place.open();
    const ids = Array.from({ length: 200 }, (_, number) => `id-${number}`);
    const begun = async (id: string, bytes = digest) =>
      ledger.begin(message(id), bytes, [a, b]).then(
        (known) => known.size,
        (error: Error) => error.name,
      );
    const posts = ids.flatMap((id, at) => [
      begun(id),
      ...(at % 10 === 0 ? [begun(id, other)] : []),
    ]);
    const results = await Promise.all(posts);
    assert.equal(results.filter((result) => result === 0).length, 200);
    assert.equal(results.filter((result) => result === 'DigestConflictError').length, 20);
    await Promise.all(ids.map(async (id) => ledger.settle(message(id), [sent(a), refused(b)])));
    const known = await Promise.all(
      ids.map(async (id) => ledger.known(message(id), [a, b], digest)),
    );
    assert.ok(known.every((each) => each.size === 1 && each.has(a)));
    await ledger.close();
  },

  'a recipient or a reason that no database can hold does no harm to others': async (place) => {
    const ledger = await place.open();
    await ledger.begin(message('id'), digest, [a]);
    const odd = [`n\0l@example.org`, '\ud800@example.org'];
    const [known] = await Promise.all([
      ledger.known(message('id'), [a, ...odd], digest),
      ledger.outcomes(message('other'), odd, AbortSignal.timeout(1000)),
      ledger.settle(message('id'), [{ address: a, kind: 'sent', status: '2.0.0', reason: 'o\0k' }]),
    ]);
    assert.ok(known.size <= 1);
    assert.equal((await ledger.known(message('id'), [a], digest)).size, 1);
    await ledger.close();
  },

  'its reader lists, finds and counts what it knows': async (place) => {
    const ledger = await place.open();
    await ledger.begin(message('id', 'web1'), digest, [a, b, c]);
    await ledger.settle(message('id', 'web1'), [sent(a), unknown(b)]);
    await ledger.begin(message('id'), digest, ['D@Example.ORG']);
    await ledger.begin(message('two'), digest, [a]);
    await ledger.settle(message('two'), [refused(a)]);
    const reader = await place.read();
    const now = Date.now();
    assert.deepEqual(await all(reader.list({ states: ['unknown'] }, now)), [
      `unknown web1/id ${b}`,
    ]);
    assert.deepEqual(await all(reader.list({ states: ['begun'] }, now)), [
      'begun /id D@Example.ORG',
      `begun web1/id ${c}`,
    ]);
    const filter = { states: ['begun', 'sent'], recipient: '@example.org' } as const;
    assert.equal((await all(reader.list(filter, now))).length, 3);
    assert.deepEqual(
      await all(reader.list({ states: ['begun'], recipient: 'd@EXAMPLE.org' }, now)),
      ['begun /id D@Example.ORG'],
    );
    assert.deepEqual(await all(reader.list({ states: ['sent'], before: now - DAY }, now)), []);
    assert.deepEqual(await all(await reader.find('id', now)), [
      `unknown web1/id ${b}`,
      'begun /id D@Example.ORG',
      `sent web1/id ${a}`,
      `begun web1/id ${c}`,
    ]);
    assert.equal((await reader.find('web1/id', now)).length, 3);
    const { messages, recipients, latestPostedAt } = await reader.stats(now);
    assert.deepEqual([messages, recipients], [3, { unknown: 1, begun: 2, sent: 1 }]);
    assert.ok(Math.abs(Number(latestPostedAt) - Date.now()) < 60_000);
    await reader.close();
    await ledger.close();
  },

  'what is spent of quotas is changed by one at a time, and stays': async (place) => {
    const ledger = await place.open();
    const times: number[] = [];
    const count = async () =>
      ledger.changePace((text, now) => {
        times.push(now);
        return { text: String(Number(text) + 1), result: undefined };
      });
    await Promise.all(Array.from({ length: 20 }, count));
    await ledger.close();
    const again = await place.open();
    const text = await again.changePace((spent) => ({ text: spent, result: spent }));
    assert.equal(text, '20');
    assert.deepEqual(
      times,
      times.toSorted((one, two) => one - two),
    );
    await again.close();
  },

  'its id is its own, and each check writes': async (place, t) => {
    const ledger: Ledger = await place.open();
    assert.match(ledger.id, /^[0-9a-f]{32}$/);
    await ledger.check();
    assert.equal(ledger.name, place.name);
    assert.equal((await ledger.outcomes(message('id'), [a], AbortSignal.timeout(1000))).size, 0);
    t.diagnostic(ledger.id);
    await ledger.close();
  },
};

for (const engine of [sqliteEngine, postgresEngine({ settings: { fsync: 'off' } })]) {
  test(`a ledger in ${engine.name}`, needs('postgres'), async (t) => {
    for (const [title, check] of Object.entries(promises)) {
      await t.test(title, async (inner) => check(await engine.place(t), inner));
    }
  });
}

async function listed(place: LedgerPlace): Promise<unknown[]> {
  const reader = await place.read();
  const found: unknown[] = [];
  for await (const each of reader.list({ states: ['unknown'] }, Date.now())) {
    found.push([each.key, each.id, each.address, each.reason, each.sentAgain]);
  }
  await reader.close();
  return found;
}

async function all(known: Iterable<KnownRecipient> | AsyncIterable<KnownRecipient>) {
  const found: string[] = [];
  for await (const { state, key, id, address } of known)
    found.push(`${state} ${key}/${id} ${address}`);
  return found;
}
