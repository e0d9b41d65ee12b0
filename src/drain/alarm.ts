import type { Clock } from '../host/clock.ts';

/**
 * What a loop waits on: a time, or being woken. A wake while nobody waits is kept. The loop goes on after
 * everything else that happened in the same moment, so that one round of it handles all of that.
 */
export class Alarm {
  readonly #clock: Clock;
  #woken = false;
  #resolve: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    if (this.#woken) return;
    this.#woken = true;
    setImmediate(() => this.#resolve?.());
  }

  /** Waits until woken, or for so many milliseconds. */
  async wait(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const stopTimer = this.#clock.timer(Math.max(0, ms), resolve);
      this.#resolve = () => {
        stopTimer();
        resolve();
      };
      if (this.#woken) setImmediate(this.#resolve);
    });
    this.#resolve = undefined;
    this.#woken = false;
  }
}
