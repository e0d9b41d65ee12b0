import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

/** Somebody on the way to a proxy at HOST:PORT, who has no key: keeps what clients say, and may cut answers off. */
export class Wiretap {
  /** What came over each connection, in their order. */
  readonly connections: Buffer[][] = [];
  /** How many answers to posts are still to be lost: the connection is cut when one begins. The first is to its greeting. */
  answersToLose = 0;
  url = '';

  static async open(t: TestContext, address: string): Promise<Wiretap> {
    const tap = new Wiretap();
    const sockets = new Set<Socket>();
    const server = createServer((client) => {
      const said: Buffer[] = [];
      tap.connections.push(said);
      const [host, port] = address.split(':');
      const proxy = connect(Number(port), host);
      for (const socket of [client, proxy]) {
        sockets.add(socket);
        socket.on('error', () => {}); // The other end is closed with it.
      }
      client.on('close', () => proxy.destroy());
      proxy.on('close', () => client.destroy());
      client.on('data', (piece: Buffer) => {
        said.push(piece);
        proxy.write(piece);
      });
      let isGreeted = false;
      proxy.on('data', (piece: Buffer) => {
        if (tap.answersToLose === 0 || !isGreeted) {
          isGreeted = true;
          client.write(piece);
        } else {
          tap.answersToLose -= 1;
          client.destroy();
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    tap.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    return tap;
  }
}
