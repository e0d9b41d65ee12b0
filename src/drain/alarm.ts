import type { Clock } from '../host/clock.ts';
import { turnsOfLoop } from '../host/turns-of-loop.ts';

/** What a loop waits on: a time, or being woken. A wake while nobody waits is kept. */
export class Alarm {
  readonly #clock: Clock;
  #isWoken = false;
  #resolve: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#isWoken = true;
    this.#resolve?.();
  }

  /**
   * Waits until woken, or for so many milliseconds, and then for everything else that happens in the same moment, so that one
   * round of the loop handles all of that; and until what the round before has begun to post is written, since the program
   * that answers it can work while this one commits.
   */
  async wait(ms: number): Promise<void> {
    if (!this.#isWoken) await this.#waitLong(ms);
    await turnsOfLoop(TURNS_TO_WRITE);
    this.#isWoken = false;
  }

  async #waitLong(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const stopTimer = this.#clock.timer(Math.max(0, ms), resolve);
      this.#resolve = () => {
        stopTimer();
        resolve();
      };
    });
    this.#resolve = undefined;
  }
}

/**
 * Turns of Node's event loop in which a post gets written: in one its bundle is made, in the next undici looks whether the
 * connection is dead, and in the third it is written in any case.
 */
const TURNS_TO_WRITE = 3;
