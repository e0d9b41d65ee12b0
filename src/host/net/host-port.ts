import { isIPv6 } from 'node:net';
import { takes } from '../option-values.ts';
import type { HostPort } from './connect-socket.ts';

/** Reads HOST:PORT, with an IPv6 address in brackets. Throws ValueError, which says `what` is read. */
export function parseHostPort(text: string, what = 'HOST:PORT'): HostPort {
  const { v6, host = v6, port } = HOST_PORT.exec(text)?.groups ?? {};
  if (host !== undefined && Number(port) <= 65_535) return { host, port: Number(port) };
  throw takes(what, text);
}

/** HOST:PORT as parseHostPort reads it. */
export function hostPortText({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

const HOST_PORT = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]+)):(?<port>\d{1,5})$/;
