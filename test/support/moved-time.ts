import { utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { endpointRecord } from '../../src/spool/endpoint.ts';
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
    this.#spool = join(spool, 'spool.db');
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
    utimesSync(this.#spool, now, now); // A drain that sleeps looks at its clock only when it is woken.
  }

  /** Whenever the drain finds the endpoint down, moves on to when it asks again, until `enough`. */
  async pass(drain: Program, enough: () => boolean): Promise<void> {
    const spool = new Spool(dirname(this.#spool), 'operator');
    try {
      for await (const line of drain.lines()) {
        if (!/ is down: .* failed, next try /.test(line)) continue;
        if (enough()) return;
        const { asksAt } = endpointRecord(spool);
        if (asksAt !== null) this.move(Math.max(0, asksAt - this.now()));
      }
      throw new Error(`drain has ended:\n${drain.stderr}`);
    } finally {
      spool.close();
    }
  }
}
