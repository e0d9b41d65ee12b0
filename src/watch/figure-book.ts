import { boundLabel, timeBounds, type Figure } from '../sqlite/figures.ts';
import type { Distribution, MetricValue } from './metric.ts';

/** Figures, to be looked up. A figure that is not kept yet is 0. */
export class FigureBook {
  readonly #values = new Map<string, Map<string, number>>();

  constructor(figures: Iterable<Figure>) {
    for (const { name, label, value } of figures) {
      let labels = this.#values.get(name);
      if (!labels) this.#values.set(name, (labels = new Map()));
      labels.set(label, value);
    }
  }

  get(name: string, label = ''): number {
    return this.#values.get(name)?.get(label) ?? 0;
  }

  /** All that is kept by this name, by label. */
  all(name: string): ReadonlyMap<string, number> {
    return this.#values.get(name) ?? new Map();
  }

  /** The values of a metric with one label. Those that are listed are there from the beginning, so that rates are right. */
  values(name: string, label: string, listed: readonly string[] = []): MetricValue[] {
    const found = [...this.all(name).keys()].filter((each) => !listed.includes(each));
    return [...listed, ...found.toSorted()].map((each) => ({
      labels: { [label]: each },
      value: this.get(name, each),
    }));
  }

  /** Times that Tally.addTime has counted, in seconds. */
  distribution(name: string): Distribution {
    const buckets = [...timeBounds, Infinity].map((bound) => ({
      bound,
      count: this.get(name, boundLabel(bound)),
    }));
    return { labels: {}, buckets, sum: this.get(`${name}_ms`) / 1000 };
  }
}
