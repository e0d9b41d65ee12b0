import { createServer, type Server, type Socket } from 'node:net';
import { every, sleep, type Clock } from '../host/clock.ts';
import { listen, type ListenAt, type Listener } from '../host/net/listen.ts';
import { limits } from '../limits.ts';
import type { IntakeJournal } from './intake-journal.ts';
import { LmtpConnection, STOPPING, type Shared } from './lmtp-connection.ts';
import { MemoryBudget } from './memory-budget.ts';
import type { SpoolWriter } from './spool-writer.ts';

interface ServerOptions {
  writer: SpoolWriter;
  /** Largest message that is taken. */
  bytesMax: number;
  journal: IntakeJournal;
  clock: Clock;
}

/** Takes mail by LMTP on Unix sockets, and has the writer store it. */
export class LmtpServer {
  readonly #options: ServerOptions;
  readonly #shared: Shared;
  readonly #connections = new Set<LmtpConnection>();
  #listeners: Listener<Server>[] = [];
  /** Messages that were acknowledged. */
  taken = 0;
  #stopLooking: (() => void) | undefined;
  /** When nobody has been connected since; monotonic. */
  #idleSince: number;
  #crowdedAgainAt = -Infinity;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { clock, bytesMax, writer } = options;
    this.#idleSince = clock.now();
    this.#shared = {
      clock,
      bytesMax,
      memory: new MemoryBudget(limits.intakeBytes),
      store: async (message) => {
        const stored = await writer.store(message);
        this.taken += 1;
        return stored;
      },
    };
  }

  /** For how long nobody has been connected, in milliseconds. */
  get idleMs(): number {
    return this.#connections.size > 0 ? 0 : this.#options.clock.now() - this.#idleSince;
  }

  async start(at: ListenAt): Promise<void> {
    // A client may close its side when it has said all, and still wants our answer.
    const make = () => createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket));
    this.#listeners = await listen(make, at);
  }

  /** Takes no more connections; resolves when those that are there have ended, after limits.stopMs at the latest. */
  async stop(): Promise<void> {
    for (const { server } of this.#listeners) server.close();
    for (const connection of this.#connections) connection.stop();
    const { clock } = this.#options;
    const stopBy = clock.now() + limits.stopMs;
    while (this.#connections.size > 0) {
      if (clock.now() >= stopBy)
        for (const connection of this.#connections) connection.cut(STOPPING);
      await sleep(clock, limits.busyPollMs);
    }
  }

  async #serve(socket: Socket): Promise<void> {
    const connection = new LmtpConnection(socket, this.#shared);
    if (this.#connections.size >= limits.intakeConnections) return this.#turnAway(connection);
    this.#connections.add(connection);
    this.#stopLooking ??= this.#look();
    await connection.serve();
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    this.#idleSince = this.#options.clock.now();
    this.#stopLooking?.();
    this.#stopLooking = undefined;
  }

  #turnAway(connection: LmtpConnection): void {
    connection.cut('421 4.3.2 there are too many connections, try again later');
    const now = this.#options.clock.now();
    if (now < this.#crowdedAgainAt) return;
    this.#crowdedAgainAt = now + limits.faultRepeatMs;
    this.#options.journal.crowded(limits.intakeConnections);
  }

  /** Looks for connections that take too long, until it is stopped. */
  #look(): () => void {
    const { clock } = this.#options;
    let expectedAt = clock.now() + limits.intakeLookMs;
    return every(clock, limits.intakeLookMs, () => {
      const now = clock.now();
      // This program slept: a machine was suspended, or a disk was slow. Its clients could not be heard meanwhile.
      const lateMs = now - expectedAt;
      expectedAt = now + limits.intakeLookMs;
      for (const connection of this.#connections) {
        if (lateMs > limits.asleepMs) connection.extend(lateMs);
        connection.look(now);
      }
    });
  }
}
