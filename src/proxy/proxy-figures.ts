import { sleep, type Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import { Tally, type Figure } from '../sqlite/figures.ts';
import type { RingName, Sample } from '../sqlite/samples.ts';
import type { QueueReport } from '../wire/frame.ts';
import type { FigureStore } from './ledger/figure-store.ts';

/**
 * What the proxy counts. It is kept in the ledger now and then, and before it is shown: so no series ever decreases, and a
 * post costs no statement more.
 *
 * requests      answers of HTTP by their status
 * posts         posts with recipients, by the name of the key
 * verdicts      recipients by class and name of the key, as `sent web1`
 * repeats       recipients that were posted again after they had been sent, by the name of the key
 * unknown       recipients of whom nobody can know whether they were sent
 * calls, backend   calls of the backend, and the same by the time that they took
 * seen_ms       when a key was used last, by its name: milliseconds since 1970
 * queue_length, queue_oldest_ms   what the host of a key said of its queue: how many messages, and when the oldest of them
 *               was queued, in milliseconds since 1970; 0 when there is none
 */
export class ProxyFigures {
  readonly #clock: Clock;
  readonly #store: FigureStore;
  #added = new Tally();
  #present = new Map<string, Figure>();
  #keeping: Promise<void> | undefined;
  #read: Figure[] | undefined;

  constructor(clock: Clock, store: FigureStore) {
    this.#clock = clock;
    this.#store = store;
  }

  count(name: string, label = '', by = 1): void {
    this.#added.add(name, label, by);
  }

  countTime(name: string, ms: number): void {
    this.#added.addTime(name, ms);
  }

  /** A key has signed a request; `queue` is what its host says of its queue, if it does. */
  seen(key: string, queue: QueueReport | undefined): void {
    const now = this.#clock.wallNow();
    this.#set('seen_ms', key, now);
    if (!queue) return;
    const { length, oldestSeconds } = queue;
    this.#set('queue_length', key, length);
    const oldestMs = oldestSeconds === undefined ? 0 : Math.max(0, now - oldestSeconds * 1000);
    this.#set('queue_oldest_ms', key, oldestMs);
  }

  /**
   * All figures that are kept, and before that keeps what was counted. While the ledger cannot be read they are those that
   * were read last, so that metrics still tell that the proxy cannot work; rejects when there are none.
   */
  async read(): Promise<Figure[]> {
    await this.keep();
    try {
      this.#read = await this.#store.read();
    } catch (error) {
      if (!this.#read) throw error;
    }
    return this.#read;
  }

  /** The samples of a ring, oldest first. */
  async samples(ring: RingName): Promise<Sample[]> {
    return this.#store.samples(ring);
  }

  /** Observed time of the ledger, in which samples are taken. */
  now(): number {
    return this.#store.now();
  }

  /** Keeps what is counted, and takes samples for plots, until stopped. */
  async tend(stop: AbortSignal): Promise<void> {
    for (let sampleAt = 0; !stop.aborted;) {
      await sleep(this.#clock, limits.keepFiguresMs, { signal: stop });
      await this.keep();
      if (this.#clock.now() < sampleAt) continue;
      sampleAt = this.#clock.now() + limits.sampleMs;
      await this.#store.takeSample().catch(() => {}); // The next one has it all.
    }
  }

  /**
   * Keeps what is counted; one at a time. Where the ledger cannot be written, which the proxy tells elsewhere, it is kept
   * the next time.
   */
  async keep(): Promise<void> {
    this.#keeping ??= this.#keepNow().finally(() => {
      this.#keeping = undefined;
    });
    return this.#keeping;
  }

  #set(name: string, label: string, value: number): void {
    this.#present.set(`${name} ${label}`, { name, label, value });
  }

  async #keepNow(): Promise<void> {
    const [added, present] = [this.#added.figures, this.#present];
    if (added.length === 0 && present.size === 0) return;
    this.#added = new Tally();
    this.#present = new Map();
    try {
      await this.#store.keep(added, [...present.values()]);
    } catch {
      for (const { name, label, value } of added) this.#added.add(name, label, value);
      this.#present = new Map([...present, ...this.#present]);
    }
  }
}
