import type { Figure } from '../../sqlite/figures.ts';
import type { RingName, Sample } from '../../sqlite/samples.ts';

/**
 * Where a ledger keeps figures: of all proxies that share it, together. Every method rejects as those of Ledger, and nothing
 * was written then.
 */
export interface FigureStore {
  /** Adds to some figures, and sets others, in one commit. */
  keep(added: readonly Figure[], present: readonly Figure[]): Promise<void>;
  /** All figures, and how many recipients are listed as unknown now (`unknown_listed`, limits.unknownCounted at most). */
  read(): Promise<Figure[]>;
  /** Writes all figures into each ring, if any has changed since the last sample. */
  takeSample(): Promise<void>;
  /** Observed time, in milliseconds. */
  now(): number;
  /** The samples of a ring, oldest first; none where nothing changed. */
  samples(ring: RingName): Promise<Sample[]>;
}
