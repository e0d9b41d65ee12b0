import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/**
 * Who made a request, for people: ADDRESS:PORT; or, when a web server of this machine passed it on, the address that it
 * adds to X-Forwarded-For, as the last. What others say there anybody may have made up.
 */
export function clientAddress({ socket, headers }: IncomingMessage): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || LOOPBACK.test(remoteAddress)) {
    const last = String(headers['x-forwarded-for'] ?? '')
      .split(',')
      .at(-1)
      ?.trim();
    if (last && isIP(last) !== 0) return last;
  }
  return remoteAddress === undefined ? 'the Unix socket' : `${remoteAddress}:${remotePort}`;
}

const LOOPBACK = /^(?:::ffff:)?127\.|^::1$/;
