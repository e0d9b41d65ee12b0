import type { Machine } from '../machine.ts';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import request from 'undici/lib/api/api-request.js';
import Client from 'undici/lib/dispatcher/client.js';
import { limits } from '../../limits.ts';
import type { Reached } from './connect-socket.ts';
import { IdleClosedError } from './idle-closed-error.ts';
import { openChannel, type Route } from './open-channel.ts';
import { PassedOver, type Opening } from './passed-over.ts';
import { Places } from './places.ts';
import { unixPathOf } from './unix-path.ts';

// The rest of undici (fetch, WebSocket, caches, mocks) would take 10 MB of memory in each service.
Object.assign(Client.prototype, { request });

/** A connection for one request after the other. */
export interface HttpLine {
  client: Client;
  socket: Socket;
  /** It was taken before, and has had requests. */
  reused: boolean;
  opening: Opening;
  /** The server has answered a probe over it (FirstProbe in wire/exchange.ts). */
  probed: boolean;
}

/** How many connections a pool has at once, how long it keeps an idle one, and the largest answer. */
export interface PoolLimits {
  connections: number;
  idleMs: number;
  answerBytes: number;
}

const ofPosts: PoolLimits = {
  connections: limits.inFlight + limits.asked + 1,
  idleMs: limits.clientIdleMs,
  answerBytes: limits.answerBytes,
};

/**
 * Connections to one server of HTTP, so many at once. (undici's own pool takes no signal for
 * opening one: a request that waits for its connection cannot be ended, nor told apart from one whose
 * connection broke.)
 */
export class HttpPool {
  readonly route: Route;
  readonly machine: Machine;
  /** The server's URL as HTTP has it. */
  readonly url: URL;
  readonly #passedOver = new PassedOver();
  /** Connections that were opened up to this turn are not used again. */
  #leftTurn = -1;
  /** When the certificate of the last connection expires, in milliseconds since 1970; undefined without TLS. */
  certificateExpiresAt: number | undefined;
  readonly #limits: PoolLimits;
  readonly #places: Places;
  readonly #openNoMore = new AbortController();
  readonly #closing = new AbortController();
  /** How the connection was opened that was the last one to be answered for the first time. */
  used: Opening | undefined;
  #idle: HttpLine[] = [];

  constructor(route: Route, machine: Machine, poolLimits: PoolLimits = ofPosts) {
    this.machine = machine;
    this.#limits = poolLimits;
    this.#places = new Places(poolLimits.connections);
    this.route = { ...route, passedOver: () => this.#passedOver.count(machine.now()) };
    this.url = unixPathOf(route.url) === undefined ? route.url : new URL('http://localhost/');
  }

  /** Aborts when no connection is opened any more: what waits for one is given up. */
  get openNoMore(): AbortSignal {
    return this.#openNoMore.signal;
  }

  /** Aborts when the pool is closed: no request goes on then. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /**
   * A connection for one request, to be given back. `fresh`: a new one, because those that are idle may
   * be dead; they are closed. Rejects as openChannel does.
   */
  async take(fresh: boolean, signal: AbortSignal): Promise<HttpLine> {
    await this.#places.enter(signal);
    try {
      if (fresh) void this.#closeIdle();
      for (;;) {
        const line = this.#idle.pop();
        if (!line) return await this.#open(signal);
        if (!line.socket.destroyed) return line;
      }
    } catch (error) {
      this.#places.leave();
      throw error;
    }
  }

  /** What answered over a connection that was opened so is not the server, or it did not answer: another address goes first. */
  passOver(opening: Opening, fault: string): void {
    this.#passedOver.add(opening, fault, this.machine.now());
  }

  /** The server there takes nothing for now: another address goes first, and no request goes over its connections again. */
  leave(opening: Opening, fault: string): void {
    if (opening.turn !== this.#passedOver.turn) return;
    this.passOver(opening, fault);
    this.#leftTurn = opening.turn;
    void this.#closeIdle();
  }

  /** Takes a connection back, to use it again or, when its request was not answered, to close it. */
  giveBack(line: HttpLine, answered: boolean): void {
    this.#places.leave();
    if (answered && !line.reused) this.#noteUse(line.opening);
    line.reused = true;
    const isUsable = !line.socket.destroyed && line.opening.turn > this.#leftTurn;
    if (answered && isUsable && !this.closing.aborted) this.#idle.push(line);
    else void line.client.destroy();
  }

  /** What is being sent goes on; what only waits to be sent ends. */
  end(): void {
    this.#openNoMore.abort(new Error('no more connections are opened'));
  }

  /** Ends everything. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the connection was closed'));
    await this.#closeIdle();
  }

  /** That the same address was faster than the better ones does not say that these are well again. */
  #noteUse(opening: Opening): void {
    const { reached, insteadOf } = opening;
    const isSame = reached?.address === this.used?.reached?.address;
    if (!isSame || reached?.isFirst || insteadOf.length > 0) this.used = opening;
  }

  async #closeIdle(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map(async ({ client }) => client.destroy()));
  }

  async #open(signal: AbortSignal): Promise<HttpLine> {
    const { turn } = this.#passedOver;
    const signals = [signal, this.openNoMore];
    let at: Reached | undefined;
    const route = { ...this.route, reached: (reached: Reached) => (at = reached) };
    const socket = await openChannel(route, signals, this.machine);
    this.certificateExpiresAt = expiryOf(socket) ?? this.certificateExpiresAt;
    return this.#lineOn(socket, this.#passedOver.opening(turn, at));
  }

  #lineOn(socket: Socket, opening: Opening): HttpLine {
    let connects = 0;
    const client = new Client(this.url.origin, {
      // undici connects again by itself when a connection has died.
      connect: (_options, done) => {
        connects += 1;
        queueMicrotask(() => {
          if (connects === 1) done(null, socket);
          else done(new IdleClosedError('the connection was closed while it was idle'), null);
        });
      },
      pipelining: 1,
      keepAliveTimeout: this.#limits.idleMs,
      keepAliveMaxTimeout: this.#limits.idleMs,
      // One time limit for the whole request, set by its caller.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxResponseSize: this.#limits.answerBytes,
    });
    const line = { client, socket, opening, reused: false, probed: false };
    socket.once('close', () => {
      this.#idle = this.#idle.filter((each) => each !== line);
    });
    return line;
  }
}

function expiryOf(socket: Socket): number | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const expiresAt = Date.parse(socket.getPeerCertificate().valid_to);
  return Number.isNaN(expiresAt) ? undefined : expiresAt;
}
