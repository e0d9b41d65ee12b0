import { connect, createServer, type AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

/** A port of 127.0.0.1 before the socket file of a server that cannot choose a free port itself. */
export async function portBefore(t: TestContext, path: string): Promise<number> {
  const server = createServer((socket) => {
    const inner = connect(path);
    socket.pipe(inner).pipe(socket);
    for (const each of [socket, inner]) {
      each.on('error', () => {});
      each.on('close', () => (each === socket ? inner : socket).destroy());
    }
    t.after(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}
