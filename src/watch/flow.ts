import { boundLabel, timeBounds } from '../sqlite/figures.ts';
import type { Ring, Sample } from '../sqlite/samples.ts';
import { FigureBook } from './figure-book.ts';

/** How figures grew in the slots of a ring, up to now. */
export class Flow {
  readonly #ring: Ring;
  readonly #last: number;
  readonly #points: readonly { slot: number; figures: FigureBook }[];
  /** What the figures were before the first slot that is known. */
  readonly #base: FigureBook;

  /** `samples` are those of the ring, `now` the present in observed time, `current` the figures of now. */
  constructor(samples: readonly Sample[], ring: Ring, now: number, current: FigureBook) {
    this.#ring = ring;
    const last = samples.at(-1)?.slot ?? 0;
    this.#last = Math.max(last, Math.floor(now / ring.stepMs));
    const [first] = samples;
    this.#base = first ? new FigureBook(first.figures) : current;
    const before = samples.filter(({ slot }) => slot < this.#last);
    this.#points = [
      ...before.map(({ slot, figures }) => ({ slot, figures: new FigureBook(figures) })),
      { slot: this.#last, figures: current },
    ];
  }

  /** By how much a figure grew in each slot, the oldest first. Before the first sample nothing is known, and nothing grew. */
  series(name: string, label = ''): number[] {
    const { slots } = this.#ring;
    const first = this.#last - slots;
    let value = this.#valueAt(first, name, label);
    return Array.from({ length: slots }, (_, at) => {
      const next = this.#valueAt(first + at + 1, name, label);
      const grown = Math.max(0, next - value);
      value = next;
      return grown;
    });
  }

  /** By how much a figure grew in all slots together. */
  total(name: string, label = ''): number {
    const { slots } = this.#ring;
    return Math.max(
      0,
      this.#valueAt(this.#last, name, label) - this.#valueAt(this.#last - slots, name, label),
    );
  }

  /** The time, in seconds, below which such a share of times is; undefined when there are none. */
  quantile(name: string, share: number): number | undefined {
    const counts = [...timeBounds, Infinity].map((bound) => this.total(name, boundLabel(bound)));
    const all = counts.reduce((sum, count) => sum + count, 0);
    if (all === 0) return undefined;
    let below = 0;
    const at = counts.findIndex((count) => (below += count) >= share * all);
    return timeBounds[at] ?? Infinity;
  }

  #valueAt(slot: number, name: string, label: string): number {
    const point = this.#points.findLast((each) => each.slot <= slot);
    return (point?.figures ?? this.#base).get(name, label);
  }
}
