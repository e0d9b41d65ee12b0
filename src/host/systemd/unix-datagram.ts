import { createRequire } from 'node:module';
import type * as unixDatagram from 'unix-dgram';

/** A socket that datagrams are sent from; while it is open the process does not end by itself. */
export interface Datagrams {
  /** Sends one at once or never; `failed` is told why not. */
  send: (datagram: Buffer, failed: (error: Error) => void) => void;
  close: () => void;
}

/** Datagrams to a Unix socket, which Node's own dgram has not. The native module is loaded here. */
export function unixDatagrams(path: string): Datagrams {
  const { createSocket } = createRequire(import.meta.url)('unix-dgram') as typeof unixDatagram;
  const socket = createSocket('unix_dgram');
  return {
    send: (datagram, failed) =>
      socket.send(datagram, 0, datagram.length, path, (error) => {
        if (error) failed(error);
      }),
    close: () => socket.close(),
  };
}
