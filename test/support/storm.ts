import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import type { Arrivals } from './arrivals.ts';
import { clock, setClock } from './clock.ts';
import { asOwner } from './as-owner.ts';
import { Forwarder } from './forwarder.ts';
import type { Program } from './program.ts';
import { readSpool, type Spooled } from './read-spool.ts';
import type { Random } from './random.ts';
import type { Road } from './road.ts';
import { until } from './until.ts';

/** A trouble that a storm brings, by its name. It is over when it resolves, or strikes what passes next. */
export type Troubles = Record<string, () => void | Promise<void>>;

export interface StormOptions {
  random: Random;
  /** Further arguments of the proxy. */
  proxyArgs?: string[];
  /** What strikes besides drain, proxy, their clocks and what is between them. */
  more?: Troubles;
  /** Ends what of these still waits to strike. */
  over?: () => void;
  /** Seconds for which the proxy is away at the most, now and then. */
  longestAway: number;
  /** After so many troubles in a row in which nothing arrived, all that is left was put off. */
  patience: number;
}

/**
 * A road with a drain and a proxy, each with a clock of its own, and a forwarder between them, and a random
 * hand that kills, cuts, drops and shifts. What it brings down it starts again.
 */
export class Storm {
  readonly road: Road;
  /** How often each trouble struck. */
  readonly struck: Record<string, number> = {};
  /** Drains that died while messages were in flight. */
  diedAtWork = 0;
  readonly #options: StormOptions;
  readonly #forwarder: Forwarder;
  readonly #troubles: Troubles;
  /** Those that have not struck since all had. */
  #deck: string[] = [];
  #drain: Program;
  #proxy: Program;

  private constructor(road: Road, options: StormOptions, proxy: Program, forwarder: Forwarder) {
    this.road = road;
    this.#options = options;
    this.#proxy = proxy;
    this.#forwarder = forwarder;
    this.#drain = this.#newDrain();
    this.#troubles = { ...this.#ownTroubles(), ...options.more };
  }

  static async start(road: Road, options: StormOptions): Promise<Storm> {
    for (const whose of ['drain', 'proxy'] as const) setClock(clockOf(road, whose), 0);
    const proxy = await startProxy(road, options);
    const forwarder = await Forwarder.open(road.t, `http://${road.address}/`);
    const storm = new Storm(road, options, proxy, forwarder);
    await storm.#drain.says(/ started; /);
    return storm;
  }

  /**
   * Strikes at random moments until so many have arrived, `gap` apart on average, or nothing arrives any
   * more; then no more.
   */
  async rage(arrivals: Arrivals, count: number, gap: number): Promise<void> {
    const { random, patience, over } = this.#options;
    const { below } = random;
    for (let [seen, inVain] = [-1, 0]; arrivals.count < count && inVain < patience;) {
      inVain = arrivals.count === seen ? inVain + 1 : 0;
      seen = arrivals.count;
      await arrivals.reach(Math.min(count, arrivals.count + 1 + below(2 * gap)), 2);
      if (below(2) > 0) await sleep(below(30)); // Else the proxy is not even done with this one.
      await this.#strike();
    }
    this.#forwarder.passes = (_towards, piece) => piece;
    over?.();
  }

  /**
   * Waits until nothing is left to send, and returns what the spool has then. Drain is stopped and started
   * again two hours later: what was put off is due.
   */
  async calm(): Promise<Spooled[]> {
    const { spool: folder } = this.road;
    assert.equal((await this.#drain.stop()).code, 0, this.#drain.stderr);
    this.#stepClock('drain', 2);
    await this.#startDrain();
    const spool = asOwner(folder, () => new Spool(folder, 'operator'));
    try {
      const { counters } = stats(spool);
      const left = () => {
        Object.assign(counters, stats(spool).counters);
        return counters.queued + counters.sending;
      };
      await until(
        () => left() === 0,
        () => `stuck: ${JSON.stringify(counters)}`,
        150,
      );
    } finally {
      spool.close();
    }
    this.#stepClock('drain', 0);
    await this.road.stats(); // Fails where law 8 is broken, as readSpool does.
    return readSpool(folder);
  }

  /** What it did, for the table. */
  get figures(): Record<string, number> {
    const troubles = Object.values(this.struck).reduce((sum, times) => sum + times, 0);
    return { troubles, ...this.struck, 'drains died at work': this.diedAtWork };
  }

  async #strike(): Promise<void> {
    if (this.#deck.length === 0) this.#deck = Object.keys(this.#troubles);
    const [name = ''] = this.#deck.splice(this.#options.random.below(this.#deck.length), 1);
    this.struck[name] = (this.struck[name] ?? 0) + 1;
    await this.#troubles[name]?.();
  }

  #ownTroubles(): Troubles {
    const { below } = this.#options.random;
    const killDrain = async () => this.#kill(this.#drain);
    const killProxy = async () => this.#kill(this.#proxy);
    return {
      'drain killed': async () => {
        await killDrain();
        await this.#startDrain();
      },
      'proxy killed': async () => {
        await killProxy();
        await this.#startProxy();
      },
      'both killed': async () => {
        await Promise.all([killDrain(), killProxy()]);
        await Promise.all([this.#startDrain(), this.#startProxy()]);
      },
      'proxy away': async () => {
        await this.#forwarder.close();
        const long = below(20) === 0 ? this.#options.longestAway : 0;
        await sleep(below(1500) + 1000 * below(long + 1));
        await this.#forwarder.listen(`http://${this.road.address}/`);
      },
      'answer dropped': () => {
        this.#meddle((towards, piece) => (towards === 'client' ? 0 : piece.length));
      },
      'request cut': () => {
        let left = below(2) === 0 ? below(500) : below(200_000);
        this.#meddle((towards, piece) => {
          if (towards === 'client') return piece.length;
          const passing = Math.min(left, piece.length);
          left -= passing;
          return passing;
        });
      },
      'clock of drain stepped': () => this.#stepClock('drain', below(3) - 1),
      'clock of proxy stepped': () => this.#stepClock('proxy', below(3) - 1),
      'second drain': async () => {
        const second = await this.#newDrain().ended;
        assert.equal(second.code, 75, second.stderr);
      },
    };
  }

  /** Once, the connection is cut whose next piece is not passed whole. `passing` says how much of it is. */
  #meddle(passing: (towards: 'client' | 'server', piece: Buffer) => number): void {
    this.#forwarder.passes = (towards, piece) => {
      const end = passing(towards, piece);
      if (end < piece.length) this.#forwarder.passes = (_towards, all) => all;
      return piece.subarray(0, end);
    };
  }

  #stepClock(whose: 'drain' | 'proxy', hours: number): void {
    setClock(clockOf(this.road, whose), hours * 3_600_000);
  }

  async #kill(program: Program): Promise<void> {
    const { signal, stderr } = await program.stop('SIGKILL');
    assert.equal(signal, 'SIGKILL', `it was gone before it was killed:\n${stderr}`);
  }

  #newDrain(): Program {
    const GMAIL_PROXY_URL = `http://127.0.0.1:${this.#forwarder.port}/`;
    return this.road.drain([], {
      GMAIL_PROXY_URL,
      ...clock({ file: clockOf(this.road, 'drain') }),
    });
  }

  async #startDrain(): Promise<void> {
    this.#drain = this.#newDrain();
    const [started] = await this.#drain.says(/ started; .*/);
    if (started.includes('being sent when drain last died')) this.diedAtWork += 1;
  }

  async #startProxy(): Promise<void> {
    this.#proxy = await startProxy(this.road, this.#options);
  }
}

async function startProxy(road: Road, { proxyArgs }: StormOptions): Promise<Program> {
  return road.proxy(proxyArgs, clock({ file: clockOf(road, 'proxy') }));
}

function clockOf(road: Road, whose: 'drain' | 'proxy'): string {
  return join(road.folder, `clock-of-${whose}`);
}
