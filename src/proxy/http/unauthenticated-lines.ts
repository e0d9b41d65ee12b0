import { limits } from '../../limits.ts';

/**
 * Limits the journal lines about requests without a key of ours: limits.unauthenticatedLines a minute, and then one
 * that counts the lines that were left out.
 */
export class UnauthenticatedLines {
  readonly #tellLeftOut: (count: number) => void;
  #told = 0;
  #leftOut = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(tellLeftOut: (count: number) => void) {
    this.#tellLeftOut = tellLeftOut;
  }

  /** Whether one more line may be written now. */
  take(): boolean {
    this.#timer ??= setTimeout(() => this.end(), limits.unauthenticatedLinesMs).unref();
    this.#told += 1;
    if (this.#told <= limits.unauthenticatedLines) return true;
    this.#leftOut += 1;
    return false;
  }

  /** Ends the minute, and tells how many lines were left out. */
  end(): void {
    clearTimeout(this.#timer);
    if (this.#leftOut > 0) this.#tellLeftOut(this.#leftOut);
    this.#timer = undefined;
    [this.#told, this.#leftOut] = [0, 0];
  }
}
