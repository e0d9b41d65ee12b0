import type { Machine } from '../../src/host/machine.ts';
import type { Network } from './network.ts';
import { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A crash at a commit: what the program does from then on has no effect. */
export class CrashError extends Error {
  override readonly name = 'CrashError';
}

/**
 * One run of a program on a machine of the world: what it gets from its machine, until it dies. After that its timers are
 * silent, and its connections are gone.
 */
export class Program {
  readonly name: string;
  readonly machine: Machine;
  isAlive = true;
  readonly #time: VirtualTime;
  readonly #dying: (() => void)[] = [];
  /** What happens to it while it is suspended waits for its end. */
  #suspendedUntil = 0;

  constructor(
    name: string,
    {
      time,
      network,
      seed,
      wall,
    }: { time: VirtualTime; network: Network; seed: number; wall: () => number },
  ) {
    this.name = name;
    this.#time = time;
    const random = new Random(seed);
    this.machine = {
      now: () => time.now,
      wallNow: wall,
      timer: (ms, callback) => this.after(ms, callback),
      random: random.next,
      randomBytes: (size) => Buffer.from(Array.from({ length: size }, () => random.below(256))),
      connect: async (to, signal) => network.connect(this, to, signal),
    };
  }

  /** Calls back after so many milliseconds if the program lives then, and when it is awake. Returns what cancels it. */
  after(ms: number, callback: () => void): () => void {
    let cancel = this.#time.at(this.#time.now + Math.max(0, ms), () => happen());
    const happen = () => {
      if (!this.isAlive) return;
      if (this.#time.now >= this.#suspendedUntil) return callback();
      cancel = this.#time.at(this.#suspendedUntil, () => happen());
    };
    return () => cancel();
  }

  /** Nothing reaches it for so long, as after SIGSTOP; its clocks go on. */
  suspend(ms: number): void {
    this.#suspendedUntil = Math.max(this.#suspendedUntil, this.#time.now + ms);
  }

  get isSuspended(): boolean {
    return this.#time.now < this.#suspendedUntil;
  }

  /** Calls back when it dies. */
  onDeath(callback: () => void): void {
    this.#dying.push(callback);
  }

  /** Ends it as SIGKILL does. */
  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    for (const callback of this.#dying) callback();
  }
}
