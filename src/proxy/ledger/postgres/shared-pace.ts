import type { Clock } from '../../../host/clock.ts';
import type { PostgresLink } from './postgres-link.ts';
import { sql } from './statements.ts';

/** What all proxies of a ledger have spent of their quotas: one text, which one proxy changes at a time (Ledger.changePace). */
export class SharedPace {
  readonly #link: PostgresLink;
  readonly #clock: Clock;
  /** The changes of this proxy, one after the other: only other proxies can be quicker. */
  #changing: Promise<unknown> = Promise.resolve();
  /** Observed time as this proxy counts it, and when that was: monotonic. */
  #time = { observed: 0, at: 0 };

  constructor(link: PostgresLink, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  async change<T>(change: (text: string, now: number) => { text: string; result: T }): Promise<T> {
    const done = this.#changing.then(async () => this.#change(change));
    this.#changing = done.catch(() => {});
    return done;
  }

  async #change<T>(change: (text: string, now: number) => { text: string; result: T }): Promise<T> {
    for (;;) {
      const [pace] = await this.#link.query<Pace>('house', sql.pace, []);
      if (!pace) throw new Error('the table pace has lost its row: see ledger fsck');
      const now = this.#timeOf(pace.at);
      const { text, result } = change(pace.spent, now);
      const changed = await this.#link.query('house', sql.changePace, [pace.changes, text, now]);
      if (changed.length > 0) return result;
    }
  }

  /**
   * Observed time, finer than it is written down: counted on by this proxy since it last saw it, or as far as another proxy
   * has counted it.
   */
  #timeOf(written: number): number {
    const now = this.#clock.now();
    const counted = this.#time.observed + now - this.#time.at;
    this.#time = { observed: Math.max(written, counted), at: now };
    return Math.floor(this.#time.observed);
  }
}

type Pace = { spent: string; at: number; changes: number };
