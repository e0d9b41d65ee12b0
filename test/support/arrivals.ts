import { watch } from 'node:fs';
import type { TestContext } from 'node:test';

/** Counts what arrives, by name. A name that comes again was sent again. */
export class Arrivals {
  readonly times = new Map<string, number>();
  readonly #waiting = new Set<() => void>();

  /** Counts how often each .eml appears in a folder of the file backend, also when it replaces another. */
  static inFolder(t: TestContext, folder: string): Arrivals {
    const arrivals = new Arrivals();
    const watcher = watch(folder, (event, name) => {
      if (event === 'rename' && name?.endsWith('.eml')) arrivals.add(name);
    });
    t.after(() => watcher.close());
    return arrivals;
  }

  add(name: string): void {
    this.times.set(name, (this.times.get(name) ?? 0) + 1);
    for (const look of this.#waiting) look();
  }

  /** How many different names have come. */
  get count(): number {
    return this.times.size;
  }

  /** Waits until so many different ones have come, or so long. */
  async reach(count: number, seconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(patience);
        this.#waiting.delete(look);
        resolve();
      };
      const look = () => {
        if (this.count >= count) done();
      };
      const patience = setTimeout(done, seconds * 1000);
      this.#waiting.add(look);
      look();
    });
  }
}
