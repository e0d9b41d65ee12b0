import { createRequire } from 'node:module';
import type * as unixDatagram from 'unix-dgram';

/** Sends one datagram, at once or never; `failed` is told why not. */
export type Send = (datagram: Buffer, failed: (error: Error) => void) => void;

/** Datagrams to a Unix socket, which Node's own dgram has not. The native module is loaded here. */
export function unixDatagrams(path: string): Send {
  const { createSocket } = createRequire(import.meta.url)('unix-dgram') as typeof unixDatagram;
  const socket = createSocket('unix_dgram');
  return (datagram, failed) =>
    socket.send(datagram, 0, datagram.length, path, (error) => {
      if (error) failed(error);
    });
}
