/**
 * Shares memory among messages that arrive at the same time. While they hold more than there is, only the one that began first
 * goes on, however large it becomes, and the others wait: so each of them is complete at some time.
 */
export class MemoryBudget<Holder extends object> {
  readonly #bytes: number;
  /** What each holds, in the order in which they began. */
  readonly #held = new Map<Holder, number>();
  #total = 0;
  #waiting: { holder: Holder; goOn: () => void }[] = [];

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /** Says how much a holder has now; 0 when it has come to its end. */
  hold(holder: Holder, bytes: number): void {
    this.#total += bytes - (this.#held.get(holder) ?? 0);
    if (bytes === 0) this.#held.delete(holder);
    else this.#held.set(holder, bytes);
    this.#waiting = this.#waiting.filter((each) => {
      const goesOn = this.goesOn(each.holder);
      if (goesOn) each.goOn();
      return !goesOn;
    });
  }

  /** Whether a holder may take more. */
  goesOn(holder: Holder): boolean {
    const [first] = this.#held.keys();
    return this.#total <= this.#bytes || holder === first || !this.#held.has(holder);
  }

  /** Whether others wait for this one. */
  holdsUpOthers(holder: Holder): boolean {
    const [first] = this.#held.keys();
    return holder === first && this.#waiting.length > 0;
  }

  /** Resolves as soon as it may. */
  async turn(holder: Holder): Promise<void> {
    if (this.goesOn(holder)) return;
    await new Promise<void>((goOn) => this.#waiting.push({ holder, goOn }));
  }
}
