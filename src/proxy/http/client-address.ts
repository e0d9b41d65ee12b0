import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { isLoopback } from '../../host/net/is-loopback.ts';

/**
 * The client that made a request, for people: ADDRESS:PORT. When a web server of this machine passed the request on, it
 * is the last address in X-Forwarded-For, which that server has added. Anybody may have made up the others.
 */
export function clientAddress({ socket, headers }: IncomingMessage): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || isLoopback(remoteAddress)) {
    const last = String(headers['x-forwarded-for'] ?? '')
      .split(',')
      .at(-1)
      ?.trim();
    if (last && isIP(last) !== 0) return last;
  }
  return remoteAddress === undefined ? 'the Unix socket' : `${remoteAddress}:${remotePort}`;
}
