import { limits } from '../../limits.ts';

/**
 * Limits the lines about strangers, whose requests have no key of ours: limits.strangerLines a minute, and then one that
 * counts those that were left out.
 */
export class StrangerLines {
  readonly #tellLeftOut: (count: number) => void;
  #told = 0;
  #leftOut = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(tellLeftOut: (count: number) => void) {
    this.#tellLeftOut = tellLeftOut;
  }

  /** Whether one more line may be written now. */
  take(): boolean {
    this.#timer ??= setTimeout(() => this.end(), limits.strangerLinesMs).unref();
    this.#told += 1;
    if (this.#told <= limits.strangerLines) return true;
    this.#leftOut += 1;
    return false;
  }

  /** Ends the minute: tells how many were left out. */
  end(): void {
    clearTimeout(this.#timer);
    if (this.#leftOut > 0) this.#tellLeftOut(this.#leftOut);
    this.#timer = undefined;
    [this.#told, this.#leftOut] = [0, 0];
  }
}
