import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** A program that has taken the proxy's address: it keeps whatever it is told, and answers as it likes. */
export class Squatter {
  /** All that came, from everybody. */
  heard = '';
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(answer: (request: string, socket: Socket) => void) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('data', (data) => {
        this.heard += data.toString('latin1');
        answer(data.toString('latin1'), socket);
      });
    });
  }

  /** `answer` is called with each piece that comes. */
  static async at(
    t: TestContext,
    at: ListenOptions,
    answer: (request: string, socket: Socket) => void,
  ): Promise<Squatter> {
    const squatter = new Squatter(answer);
    squatter.#server.listen(at);
    await once(squatter.#server, 'listening');
    t.after(() => squatter.leave());
    return squatter;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Gives the address back. */
  async leave(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const address = this.#server.address();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
    if (typeof address === 'string') rmSync(address, { force: true });
  }
}
