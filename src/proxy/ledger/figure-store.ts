import type { Figure } from '../../sqlite/figures.ts';
import type { RingName, Sample } from '../../sqlite/samples.ts';

/**
 * Where a ledger keeps the figures of a proxy. If several proxies share the ledger, each has its own counts, and all have
 * the same values of what is set. Every method rejects as those of Ledger.
 */
export interface FigureStore {
  /** Adds to some figures, and sets others, in one commit. They may be counted twice where the answer is lost. */
  keep(added: readonly Figure[], present: readonly Figure[]): Promise<void>;
  /**
   * All figures; how many recipients are listed as unknown now (`unknown_listed`, limits.unknownCounted at most); and the size
   * of the ledger (`ledger_bytes`). A count of its rows would grow with them.
   */
  read(): Promise<Figure[]>;
  /** Writes all figures into each ring, if any has changed since the last sample. */
  takeSample(): Promise<void>;
  /** Observed time, in milliseconds. */
  now(): number;
  /** The samples of a ring, oldest first; none where nothing changed. */
  samples(ring: RingName): Promise<Sample[]>;
}
