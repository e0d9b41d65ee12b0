import type { VirtualTime } from './virtual-time.ts';

/** The wall clock of a machine: it may be wrong, be stepped, and run too fast or too slowly. */
export class WallClock {
  readonly #time: VirtualTime;
  #beganAt: number;
  #since = 0;
  #rate = 1;

  /** `beganAt`: what it shows when the world begins, in milliseconds since 1970. */
  constructor(time: VirtualTime, beganAt: number) {
    this.#time = time;
    this.#beganAt = beganAt;
  }

  readonly now = (): number =>
    Math.floor(this.#beganAt + (this.#time.now - this.#since) * this.#rate);

  /** From now on it is so much ahead, and goes at this rate. */
  change(byMs: number, rate: number): void {
    this.#beganAt = this.now() + byMs;
    this.#since = this.#time.now;
    this.#rate = rate;
  }
}
