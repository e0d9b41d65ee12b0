import type { Socket } from 'node:net';
import { limits } from '../../limits.ts';
import { thisMachine, type Machine } from '../machine.ts';
import type { HostPort } from './connect-socket.ts';
import { secureSocket } from './secure-socket.ts';
import { unixPathOf } from './unix-path.ts';
import { connectThrough, hostPort, type WebProxy } from './web-proxy.ts';
import { withinTime } from '../within-time.ts';

/** A server of HTTP, and how it is reached. */
export interface Route {
  /** http:, https:, or http+unix: with the path of a socket. */
  url: URL;
  /** The web proxy between us and it. */
  webProxy?: WebProxy | undefined;
  /** PEM of the certificate authorities to trust instead of Node's own. */
  ca?: string[] | undefined;
  /** How many of its addresses are tried after the others. */
  passedOver?: () => number;
  /** Is told which of its addresses a connection leads to; not through a web proxy, which tells none. */
  reached?: HostPort['reached'];
}

/**
 * Opens a connection on which HTTP can be spoken with a server. Name, TCP, web proxy and TLS take
 * limits.connectMs together, and end when one of `signals` aborts. Rejects with an Error that has a `code`: a
 * WebProxyError where the web proxy is the trouble.
 */
export async function openChannel(
  { url, webProxy, ca, passedOver, reached }: Route,
  signals: readonly AbortSignal[],
  machine: Machine = thisMachine,
): Promise<Socket> {
  return withinTime(
    limits.connectMs,
    'no connection',
    { signals, clock: machine },
    async ({ signal }) => {
      const path = unixPathOf(url);
      if (path !== undefined) return machine.connect({ path }, signal);
      const to = { ...hostPort(url), passedOver: passedOver?.() ?? 0, reached };
      const socket = await (webProxy
        ? connectThrough(webProxy, to, signal, machine)
        : machine.connect(to, signal));
      return url.protocol === 'https:'
        ? secureSocket(socket, { host: to.host, ca }, signal)
        : socket;
    },
  );
}
