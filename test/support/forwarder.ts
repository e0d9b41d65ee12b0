import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { createServer as createTlsServer, TLSSocket, type TlsOptions } from 'node:tls';
import type { TestContext } from 'node:test';

/** A TCP or TLS port before a server, to be opened and closed while the server stays as it is. */
export class Forwarder {
  port = 0;
  /**
   * Sees every piece that passes, and the client's end of its connection; when it returns less than it
   * got, the connection is cut after that.
   */
  passes: (towards: 'client' | 'server', piece: Buffer, client: Socket) => Buffer = (_, piece) =>
    piece;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  /** Connections are passed on to the host and port of `url`. */
  static async open(t: TestContext, url: string, tls?: TlsOptions): Promise<Forwarder> {
    const forwarder = new Forwarder();
    await forwarder.listen(url, tls);
    t.after(() => forwarder.close());
    return forwarder;
  }

  /** Resets, or where it ends TLS closes, each connection at the first byte that comes after an answer, as some middle boxes do. */
  resetReused(): void {
    const answered = new WeakSet<Socket>();
    this.passes = (towards, piece, client) => {
      if (towards === 'client') answered.add(client);
      if (towards === 'client' || !answered.has(client)) return piece;
      // Node cannot reset a connection of TLS.
      if (client instanceof TLSSocket) client.destroy();
      else client.resetAndDestroy();
      return Buffer.alloc(0);
    };
  }

  async listen(url: string, tls?: TlsOptions): Promise<void> {
    const { hostname, port } = new URL(url);
    const pass = (from: Socket) => {
      const to = connect(Number(port), hostname);
      for (const [socket, other, towards] of [
        [from, to, 'server'],
        [to, from, 'client'],
      ] as const) {
        this.#sockets.add(socket);
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        const filter = new Transform({
          transform: (piece: Buffer, _encoding, done) => {
            const passing = this.passes(towards, piece, from);
            done(null, passing);
            if (passing.length < piece.length) setImmediate(() => socket.destroy());
          },
        });
        socket.pipe(filter).pipe(other);
      }
    };
    const server = tls ? createTlsServer(tls, pass) : createServer(pass);
    server.on('tlsClientError', () => {}); // A client that refuses the certificate is expected.
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Closes the port and every connection through it; `listen` opens the same port again. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    this.#server = undefined;
    if (server) await new Promise((resolve) => server.close(resolve));
  }
}
