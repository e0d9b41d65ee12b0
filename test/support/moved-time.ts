import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../src/limits.ts';
import { endpointRecord } from '../../src/spool/endpoint.ts';
import { shownTime } from '../../src/sqlite/shown-time.ts';
import { Spool } from '../../src/spool/spool.ts';
import { clock, setClock } from './clock.ts';
import type { Program } from './program.ts';
import type { Road } from './road.ts';

/**
 * The time of a drain, which the test moves on: days pass in seconds, while what happens in between takes
 * as long as it does. Timers and the monotonic clock move as well.
 */
export class MovedTime {
  /** For the environment of the drain. */
  readonly env: NodeJS.ProcessEnv;
  /** By how much it was moved so far, in milliseconds. */
  aheadMs = 0;
  readonly #file: string;
  readonly #spool: string;

  constructor({ folder, spool }: Road) {
    this.#file = join(folder, 'time');
    this.#spool = spool;
    setClock(this.#file, 0);
    this.env = clock({ file: this.#file, monotonic: true });
  }

  /** Milliseconds since 1970, there. */
  now(): number {
    return Date.now() + this.aheadMs;
  }

  move(ms: number): void {
    this.aheadMs += ms;
    setClock(this.#file, this.aheadMs);
    const now = new Date();
    utimesSync(join(this.#spool, 'spool.db'), now, now); // A drain that sleeps looks at its clock only when it is woken.
  }

  /** Whenever the drain finds the endpoint down, moves on to when it asks again, until `enough`. */
  async pass(drain: Program, enough: () => boolean): Promise<void> {
    // A post that was in flight with the one that found it down may have made the wait longer, without a
    // line; and a drain that was about to sleep when time moved sleeps until its next look.
    const longer = setInterval(() => this.move(this.#nextMs() || limits.lookMs), 1000);
    try {
      for await (const line of drain.lines()) {
        longer.refresh();
        if (!/ is down: .* failed, next try /.test(line)) continue;
        if (enough()) return;
        this.move(this.#nextMs());
      }
    } finally {
      clearInterval(longer);
    }
    throw new Error(`drain has ended:\n${drain.stderr}`);
  }

  /** Moves on, to when the endpoint is asked again or a little, as long as nothing comes of the promise. */
  async passUntil(promise: Promise<unknown>): Promise<void> {
    const waiting = Symbol('nothing came of it');
    while ((await Promise.race([promise, sleep(200, waiting)])) === waiting) {
      this.move(this.#nextMs() || 20_000);
    }
  }

  /** How long the drain still leaves the endpoint alone. */
  #nextMs(): number {
    const spool = new Spool(this.#spool, 'operator');
    try {
      const asksAt = endpointRecord(spool).asksAt ?? 0;
      return Math.max(0, asksAt - shownTime(spool, this.now()).now);
    } finally {
      spool.close();
    }
  }
}
