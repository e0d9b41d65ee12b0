import { limits } from '../../limits.ts';
import type { FailedAddress, Reached } from './connect-socket.ts';

/** How a connection was opened. */
export interface Opening {
  /** See PassedOver. */
  turn: number;
  /** Undefined where the address is not known. */
  reached?: Reached | undefined;
  /** The addresses that it would have gone to if they had not failed. */
  insteadOf: readonly FailedAddress[];
}

/**
 * Counts the addresses of a name that took a connection and then failed: a connection goes to the next one first. After
 * limits.passedOverMs the best is the first again. Times are of the monotonic clock.
 */
export class PassedOver {
  /** Which connections were opened at the present count: one of them that fails passes its address over, and the others nothing. */
  turn = 0;
  #count = 0;
  #until = -Infinity;
  /** The fault of each address that is passed over, in the order in which the addresses are tried. */
  readonly #faults = new Map<string, string>();

  count(now: number): number {
    if (now >= this.#until) {
      this.#count = 0;
      this.#faults.clear();
    }
    return this.#count;
  }

  /** How a connection was opened, at that turn and just now. */
  opening(turn: number, reached: Reached | undefined): Opening {
    if (!reached) return { turn, insteadOf: [] };
    const failed = [...new Map([...this.#faults, ...reached.failed])];
    const nth = failed.findIndex(([address]) => address === reached.address);
    return { turn, reached, insteadOf: nth < 0 ? failed : failed.slice(0, nth) };
  }

  /** A connection that was opened so failed. */
  add({ turn, reached }: Opening, fault: string, now: number): void {
    if (turn !== this.turn) return;
    this.#count = this.count(now) + 1;
    this.#until = now + limits.passedOverMs;
    this.turn += 1;
    if (reached) this.#faults.set(reached.address, fault);
  }
}
