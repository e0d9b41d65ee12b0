/** Something that a loop waits on: a time, or being woken. A wake while nobody waits is kept. */
export class Alarm {
  #woken = false;
  #resolve: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  /** Waits until woken, or for so many milliseconds. */
  async wait(ms: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
        this.#timer = setTimeout(resolve, Math.max(0, ms));
      });
      clearTimeout(this.#timer);
      this.#resolve = undefined;
    }
    this.#woken = false;
  }
}
