import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { limits } from '../../src/limits.ts';
import type { Program } from './program.ts';
import type { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Somebody who takes connections at an address. */
export interface Listener {
  /** Undefined for a server that is no program of ours. */
  program?: Program;
  accept(socket: SimSocket): void;
}

/** What a network does to connections to one address, while it lasts. */
export type Fault = 'refused' | 'silent' | 'cut';

/** The one network of a world: addresses, how far apart they are, and what is wrong with it. */
export class Network {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #listeners = new Map<string, Listener>();
  /** One way, in milliseconds, by address. */
  readonly latencyMs = new Map<string, number>();
  readonly #faults = new Map<string, Fault>();
  /** All that are open, by address. */
  readonly #open = new Map<string, Set<SimSocket>>();

  constructor(time: VirtualTime, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  listen(address: string, listener: Listener): () => void {
    this.#listeners.set(address, listener);
    return () => {
      if (this.#listeners.get(address) === listener) this.#listeners.delete(address);
    };
  }

  /** From now on, until `heal`; `cut` breaks what is open, and lets new connections be. */
  fail(address: string, fault: Fault): void {
    if (fault === 'cut') return this.cut(address);
    this.#faults.set(address, fault);
    if (fault === 'silent') for (const socket of this.#open.get(address) ?? []) socket.silence();
  }

  heal(address: string): void {
    this.#faults.delete(address);
  }

  /** Breaks connections to an address: all, or each with this probability. */
  cut(address: string, share = 1): void {
    for (const socket of Array.from(this.#open.get(address) ?? [])) {
      if (this.#random.chance(share)) socket.cut();
    }
  }

  /** Opens a connection for a program, as connectSocket does. */
  async connect(
    program: Program,
    to: { host: string; port: number } | { path: string },
    signal: AbortSignal,
  ): Promise<Socket> {
    const address = 'path' in to ? to.path : `${to.host}:${to.port}`;
    const latency = () => this.latencyMs.get(address) ?? 0.1;
    return new Promise((resolve, reject) => {
      let cancel: (() => void) | undefined;
      const abort = () => {
        cancel?.();
        reject(signal.reason as Error);
      };
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort, { once: true });
      const done = () => signal.removeEventListener('abort', abort);
      if (this.#faults.get(address) === 'silent') {
        cancel = program.after(limits.connectMs, () => {
          done();
          reject(Object.assign(new Error(`connect ETIMEDOUT ${address}`), { code: 'ETIMEDOUT' }));
        });
        return;
      }
      cancel = program.after(2 * latency(), () => {
        done();
        const listener = this.#listeners.get(address);
        if (!listener || this.#faults.get(address) === 'refused') {
          return reject(
            Object.assign(new Error(`connect ECONNREFUSED ${address}`), { code: 'ECONNREFUSED' }),
          );
        }
        const [near, far] = SimSocket.pair(this.#time, latency, [program, listener.program]);
        const all = this.#open.get(address) ?? new Set();
        this.#open.set(address, all.add(near));
        near.once('close', () => all.delete(near));
        listener.accept(far);
        resolve(near as unknown as Socket);
      });
    });
  }
}

/** One end of a connection. It has of net.Socket what Node's HTTP, undici and nodemailer use. */
export class SimSocket extends Duplex {
  readonly remoteAddress = '10.0.0.9';
  readonly remotePort = 40_000;
  readonly localAddress = '10.0.0.8';
  readonly localPort = 25;
  readonly remoteFamily = 'IPv4';
  readonly encrypted = false;
  bytesRead = 0;
  bytesWritten = 0;
  connecting = false;
  readonly #time: VirtualTime;
  readonly #latency: () => number;
  readonly #program: Program | undefined;
  #peer!: SimSocket;
  /** When what was written last arrives: nothing overtakes it. */
  #arrivesAt = 0;
  #isSilent = false;
  #hasEnded = false;

  /** Two ends; each belongs to a program, which alone hears of it while it lives. */
  static pair(
    time: VirtualTime,
    latency: () => number,
    [one, other]: readonly [Program | undefined, Program | undefined],
  ): [SimSocket, SimSocket] {
    const near = new SimSocket(time, latency, one, false);
    const far = new SimSocket(time, latency, other, true);
    near.#peer = far;
    far.#peer = near;
    return [near, far];
  }

  private constructor(
    time: VirtualTime,
    latency: () => number,
    program: Program | undefined,
    allowHalfOpen: boolean,
  ) {
    super({ allowHalfOpen, autoDestroy: true });
    this.#time = time;
    this.#latency = latency;
    this.#program = program;
    this.on('error', () => {}); // Its user hears of the error by its own listener, if it has one.
    program?.onDeath(() => this.#die());
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** Nothing arrives any more, in either direction, and nobody is told. */
  silence(): void {
    this.#isSilent = true;
    this.#peer.#isSilent = true;
  }

  /** Both ends are told that the connection broke. */
  cut(): void {
    this.#break();
    this.#peer.#break();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.bytesWritten += chunk.length;
    this.#send(() => {
      if (this.#peer.readable && !this.#peer.destroyed && !this.#peer.#hasEnded)
        this.#peer.push(chunk);
    });
    done();
  }

  override _final(done: () => void): void {
    this.#send(() => this.#peer.#end());
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#isSilent) {
      this.#send(() => {
        const peer = this.#peer;
        if (peer.destroyed) return;
        if (peer.#hasEnded) peer.#break();
        else peer.#end();
      });
    }
    done(error);
  }

  /** The kernel resets what a killed program had open. */
  #die(): void {
    this.#send(() => this.#peer.#break());
    this.#isSilent = true;
  }

  #end(): void {
    if (this.#hasEnded || this.destroyed) return;
    this.#hasEnded = true;
    this.push(null);
    this.resume(); // An end that nobody reads for would stay unnoticed.
  }

  #break(): void {
    if (this.destroyed) return;
    this.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
  }

  /** Has something happen at the other end when it has got there. */
  #send(arrive: () => void): void {
    if (this.#isSilent) return;
    const time = this.#time;
    this.#arrivesAt = Math.max(this.#arrivesAt, time.now + this.#latency());
    const peer = this.#peer;
    const happen = () => {
      if (!peer.#isSilent) arrive();
    };
    if (peer.#program) peer.#program.after(this.#arrivesAt - time.now, happen);
    else time.at(this.#arrivesAt, happen);
  }
}
