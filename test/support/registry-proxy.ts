import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { inCheckout } from './program.ts';

/**
 * A web proxy that opens tunnels to npm's registry alone, and remembers all hosts that it was asked for.
 * `environment` has npm, node-gyp and what they start use it.
 */
export async function registryProxy(t: TestContext) {
  const { stdout } = spawnSync('npm', ['config', 'get', 'registry'], {
    cwd: inCheckout('.'),
    encoding: 'utf8',
  });
  const { hostname: registry, port } = new URL(stdout.trim());
  const asked = new Set<string>();
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', (request) => {
      const [line = ''] = request.toString('latin1').split('\r\n');
      const host = /^CONNECT (\S+):\d+ /.exec(line)?.[1] ?? line;
      asked.add(host);
      if (host !== registry) return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      const onward = connect(Number(port || 443), registry, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.pipe(onward).pipe(socket);
      });
      sockets.push(onward);
      onward.on('error', () => socket.destroy());
      return undefined;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { HOME } = process.env;
  const environment = {
    HOME,
    npm_config_proxy: url,
    npm_config_https_proxy: url,
    https_proxy: url,
  };
  return { registry, asked, environment };
}
