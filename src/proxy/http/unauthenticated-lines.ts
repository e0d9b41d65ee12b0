import type { Clock } from '../../host/clock.ts';
import { limits } from '../../limits.ts';

/**
 * Limits the journal lines about requests without a key of ours: limits.unauthenticatedLines a minute, and then one
 * that counts the lines that were left out.
 */
export class UnauthenticatedLines {
  readonly #tellLeftOut: (count: number) => void;
  readonly #clock: Clock;
  #told = 0;
  #leftOut = 0;
  #stopTimer: (() => void) | undefined;

  constructor(clock: Clock, tellLeftOut: (count: number) => void) {
    this.#clock = clock;
    this.#tellLeftOut = tellLeftOut;
  }

  /** Whether one more line may be written now. */
  take(): boolean {
    this.#stopTimer ??= this.#clock.timer(limits.unauthenticatedLinesMs, () => this.end(), {
      idle: true,
    });
    this.#told += 1;
    if (this.#told <= limits.unauthenticatedLines) return true;
    this.#leftOut += 1;
    return false;
  }

  /** Ends the minute, and tells how many lines were left out. */
  end(): void {
    this.#stopTimer?.();
    if (this.#leftOut > 0) this.#tellLeftOut(this.#leftOut);
    this.#stopTimer = undefined;
    [this.#told, this.#leftOut] = [0, 0];
  }
}
