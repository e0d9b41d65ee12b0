declare module 'unix-dgram' {
  /** A datagram socket of AF_UNIX; Node's own dgram has none. */
  export interface UnixDatagramSocket {
    send(
      datagram: Buffer,
      offset: number,
      length: number,
      path: string,
      done: (error?: Error) => void,
    ): void;
    close(): void;
  }
  export function createSocket(type: 'unix_dgram'): UnixDatagramSocket;
}
