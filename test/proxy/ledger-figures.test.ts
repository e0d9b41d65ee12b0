import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { FigureStore } from '../../src/proxy/ledger/figure-store.ts';
import type { Figure } from '../../src/sqlite/figures.ts';
import { postgresEngine, sqliteEngine, type LedgerPlace } from '../support/ledger-engines.ts';
import { needs } from '../support/needs.ts';

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

const posts = (value: number, label = 'web1'): Figure => ({ name: 'posts', label, value });
const queue = (value: number): Figure => ({ name: 'queue_length', label: 'web1', value });
const unknown = (value: number): Figure => ({ name: 'unknown_listed', label: '', value });
const sorted = (figures: readonly Figure[]) => figures.toSorted(byName);
const byName = (one: Figure, two: Figure) =>
  `${one.name} ${one.label}`.localeCompare(`${two.name} ${two.label}`);

/** All figures but the size of the ledger, which is no matter as long as it has one. */
async function read(store: FigureStore): Promise<Figure[]> {
  const figures = await store.read();
  const size = figures.find(({ name }) => name === 'ledger_bytes')?.value ?? 0;
  assert.ok(size >= 20_000 && size < 10e6, `${size} bytes`);
  return figures.filter(({ name }) => name !== 'ledger_bytes');
}

/** What both kinds of ledger promise of figures, each in a ledger of its own. */
const promises: Record<string, (place: LedgerPlace, t: TestContext) => Promise<void>> = {
  'what is counted adds up, also over a restart, and what is set is replaced': async (place) => {
    const ledger = await place.open();
    const figures = ledger.figures('one');
    assert.deepEqual(await read(figures), [unknown(0)]);
    await figures.keep([posts(2), posts(1, 'web\0two')], [queue(7)]);
    await figures.keep([posts(3)], []);
    await ledger.close();
    const again = await place.open();
    const store = again.figures('one');
    await store.keep([], [queue(4)]);
    const [web1, ...others] = sorted(await read(store));
    assert.deepEqual(web1, posts(5));
    assert.equal(others[0]?.value, 1, 'a name that PostgreSQL cannot have counts too');
    assert.deepEqual(others.slice(1), [queue(4), unknown(0)]);
    await again.close();
  },

  'recipients that are listed as unknown are a figure': async (place) => {
    const ledger = await place.open();
    await ledger.begin({ key: '', id: 'id' }, Buffer.alloc(32, 7), ['a@example.org']);
    const lost = { address: 'a@example.org', kind: 'unknown', reason: 'the line broke' } as const;
    await ledger.settle({ key: '', id: 'id' }, [lost]);
    assert.deepEqual(await read(ledger.figures('one')), [unknown(1)]);
    await ledger.close();
  },

  'figures are written down in each ring, as long as that shows, and not where none has changed':
    async (place) => {
      const first = await place.open();
      await first.figures('one').takeSample();
      await first.figures('one').takeSample();
      await first.close();
      for (let at = 1; at <= 70; at += 1) {
        if (at % 10 !== 0) continue;
        await place.letPass(10 * MINUTE);
        const ledger = await place.open();
        const figures = ledger.figures('one');
        await figures.keep([posts(1)], []);
        await figures.takeSample();
        await figures.takeSample();
        await ledger.close();
      }
      const ledger = await place.open();
      const figures = ledger.figures('one');
      await figures.read();
      const hour = await figures.samples('hour');
      const counts = hour.map((each) => each.figures.find(({ name }) => name === 'posts')?.value);
      // The last from before the hour is kept: later ones are compared with it.
      assert.deepEqual(counts, [1, 2, 3, 4, 5, 6, 7]);
      const [latest] = hour.slice(-1);
      assert.ok(Math.abs(figures.now() - (latest?.at ?? 0)) < MINUTE);
      assert.equal(latest?.slot, Math.floor((latest?.at ?? 0) / MINUTE));
      const day = await figures.samples('day');
      assert.deepEqual(day.at(-1)?.figures, latest.figures);
      assert.ok(day.length < hour.length);
      assert.equal((await figures.samples('week')).at(-1)?.figures.length, 3);
      await ledger.close();
    },
};

const engines = [
  { engine: sqliteEngine, wants: {} },
  { engine: postgresEngine(), wants: needs('postgres') },
];

for (const { engine, wants } of engines) {
  test(`figures of a ledger in ${engine.name}`, wants, async (t) => {
    for (const [promise, keeps] of Object.entries(promises)) {
      await t.test(`${promise}, in ${engine.name}`, async (inner) => {
        await keeps(await engine.place(t), inner);
      });
    }
  });
}

test(
  'of several proxies each counts for itself, and knows how hosts are from all of them',
  needs('postgres'),
  async (t) => {
    const place = await postgresEngine().place(t);
    const [one, two] = [await place.open(), await place.open()];
    await one.figures('one').keep([posts(2)], [queue(7)]);
    await two.figures('two').keep([posts(40)], []);
    await two.figures('two').keep([posts(2)], [queue(3)]);
    assert.deepEqual(await read(one.figures('one')), [posts(2), queue(3), unknown(0)]);
    assert.deepEqual(await read(two.figures('two')), [posts(42), queue(3), unknown(0)]);
    await one.figures('one').takeSample();
    assert.equal((await two.figures('two').samples('hour')).length, 0);
    await two.close();

    // A proxy that is there, even if nothing happens, keeps its figures; those of one that is gone are forgotten.
    await place.letPass(29 * DAY);
    await one.figures('one').takeSample();
    await place.letPass(2 * DAY);
    await one.prune();
    assert.deepEqual(await read(one.figures('one')), [posts(2), queue(3), unknown(0)]);
    assert.deepEqual(await read(one.figures('two')), [queue(3), unknown(0)]);
    await one.close();
  },
);
