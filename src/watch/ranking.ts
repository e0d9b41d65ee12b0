import { limits } from '../limits.ts';

/** A name, and how often it came up. */
export type Ranked = readonly [name: string, count: number];

/** Counts by name, of which the highest are shown. Of very many names, those that come last are counted as OTHERS. */
export class Ranking {
  readonly #counts = new Map<string, number>();

  add(name: string): void {
    const isKept = this.#counts.has(name) || this.#counts.size < limits.shapeNames;
    const key = isKept ? name : OTHERS;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** The highest, the first of them first. */
  get top(): Ranked[] {
    return [...this.#counts].toSorted(([, one], [, two]) => two - one).slice(0, limits.reportRows);
  }
}

const OTHERS = 'OTHERS';
