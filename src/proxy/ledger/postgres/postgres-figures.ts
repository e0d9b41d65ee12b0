import type { QueryResultRow } from 'pg';
import type { Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import { figuresJson, figuresOfJson, type Figure } from '../../../sqlite/figures.ts';
import { rings, type RingName, type Sample } from '../../../sqlite/samples.ts';
import type { FigureStore } from '../figure-store.ts';
import { columns } from './columns.ts';
import type { Statement } from './postgres-session.ts';
import { sql } from './statements.ts';
import { storable } from './storable.ts';

/** Runs a statement in the ledger's session; rejects as the methods of Ledger do. */
type Query = <Row extends QueryResultRow>(
  statement: Statement,
  values: unknown[],
) => Promise<Row[]>;

/**
 * The figures of one proxy in a ledger that several share. Each proxy has its own counts, by its name, so that a sum over all
 * proxies counts nothing twice. All share the values that are set: they are the state of a host, which may tell any proxy.
 */
export class PostgresFigures implements FigureStore {
  readonly #proxy: string;
  readonly #clock: Clock;
  readonly #query: Query;
  /** Observed time as the ledger said last, and when that was: monotonic. */
  #time = { observed: 0, at: 0 };

  constructor(proxy: string, clock: Clock, query: Query) {
    this.#proxy = storable(proxy);
    this.#clock = clock;
    this.#query = query;
  }

  async keep(added: readonly Figure[], present: readonly Figure[]): Promise<void> {
    await this.#query(sql.keepFigures, [this.#proxy, ...columnsOf(added), ...columnsOf(present)]);
  }

  async read(): Promise<Figure[]> {
    const values = [this.#proxy, limits.unknownCounted];
    const rows = await this.#query<Figure & { now: number }>(sql.figures, values);
    const [first] = rows;
    if (first) this.#time = { observed: first.now, at: this.#clock.now() };
    return rows.map(({ name, label, value }) => ({ name, label, value }));
  }

  async takeSample(): Promise<void> {
    const figures = figuresJson(await this.read());
    const latest = [this.#proxy, limits.sampleMs, limits.figuresUsedMs];
    const [sampled] = await this.#query<{ figures: string }>(sql.latestSample, latest);
    if (sampled?.figures === figures) return;
    const all = Object.values(rings);
    await this.#query(sql.writeSample, [
      this.#proxy,
      all.map(({ stepMs }) => stepMs),
      all.map(({ slots }) => slots),
      figures,
    ]);
  }

  now(): number {
    return Math.floor(this.#time.observed + this.#clock.now() - this.#time.at);
  }

  async samples(ring: RingName): Promise<Sample[]> {
    const { stepMs } = rings[ring];
    const rows = await this.#query<StoredSample>(sql.samples, [this.#proxy, stepMs]);
    return rows.map(({ figures, ...sample }) => ({ ...sample, figures: figuresOfJson(figures) }));
  }
}

type StoredSample = Omit<Sample, 'figures'> & { figures: string };

/** Names, labels and values of figures. */
function columnsOf(figures: readonly Figure[]): unknown[][] {
  const rows = figures.map(({ name, label, value }) => [name, storable(label), Math.round(value)]);
  return columns(rows, 3);
}
