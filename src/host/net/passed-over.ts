import { limits } from '../../limits.ts';

/**
 * Counts the addresses of a name that took a connection and then failed: a connection goes to the next one first. After
 * limits.passedOverMs the best is the first again. Times are of the monotonic clock.
 */
export class PassedOver {
  /** Which connections were opened at the present count: one of them that fails passes its address over, and the others nothing. */
  turn = 0;
  #count = 0;
  #until = -Infinity;

  count(now: number): number {
    if (now >= this.#until) this.#count = 0;
    return this.#count;
  }

  /** A connection of that turn failed. */
  add(turn: number, now: number): void {
    if (turn !== this.turn) return;
    this.#count = this.count(now) + 1;
    this.#until = now + limits.passedOverMs;
    this.turn += 1;
  }
}
