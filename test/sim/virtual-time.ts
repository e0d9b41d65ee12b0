/** Time that goes on only from one event to the next. Events of the same moment happen in the order in which they were made. */
export class VirtualTime {
  /** Milliseconds since the world began. */
  now = 0;
  #made = 0;
  /** A binary heap: the first event is the next. */
  readonly #heap: Event[] = [];

  /** Calls back at a time, now at the earliest. Returns what cancels it. */
  at(time: number, happen: () => void): () => void {
    const event: Event = { time: Math.max(time, this.now), order: this.#made, happen };
    this.#made += 1;
    this.#push(event);
    return () => {
      event.happen = undefined;
    };
  }

  /**
   * Lets the next event happen, and waits until everything that follows from it without waiting has happened. Returns
   * false where there is none before `end`; the time is then `end`.
   */
  async step(end: number): Promise<boolean> {
    for (let event = this.#heap[0]; event && event.time <= end; event = this.#heap[0]) {
      this.#pop();
      if (!event.happen) continue;
      this.now = event.time;
      event.happen();
      await settled();
      return true;
    }
    this.now = Math.max(this.now, end);
    return false;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent], event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child] as Event)) child += 1;
      if (isBefore(last, heap[child] as Event)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

interface Event {
  time: number;
  order: number;
  happen: (() => void) | undefined;
}

function isBefore(one: Event | undefined, other: Event): boolean {
  if (!one) return false;
  return one.time < other.time || (one.time === other.time && one.order < other.order);
}

/**
 * Resolves when everything that goes on by itself has come to rest: promises, streams, and what programs put off to the end
 * of the turn of the event loop, which may again put off something.
 */
async function settled(): Promise<void> {
  for (let turn = 0; turn < TURNS_MIN || isPending(); turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function isPending(): boolean {
  return process.getActiveResourcesInfo().includes('Immediate');
}

/** Promises and streams may put something off after a turn in which nothing was put off. */
const TURNS_MIN = 4;
