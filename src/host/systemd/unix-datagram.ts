import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { getSystemErrorMap } from 'node:util';

/** A socket that datagrams are sent from. */
export interface Datagrams {
  /** Sends one at once or never. Returns the error when it was not sent; never throws. */
  send: (datagram: Buffer) => Error | undefined;
  close: () => void;
}

/**
 * Datagrams to a Unix socket, which Node's own dgram has not: by its path, or with an @ before an abstract name. The system
 * calls are made by koffi, a native module that is not installed on every processor. It is loaded, and the socket is
 * opened, by the first `send`; where that fails, the next one tries again.
 */
export function unixDatagrams(path: string): Datagrams {
  const address = socketAddress(path);
  let fd: number | undefined;
  return {
    send: (datagram) => {
      try {
        const { sendto, failure } = systemCalls();
        fd ??= openSocket();
        const sent = sendto(fd, datagram, datagram.length, MSG_NOSIGNAL, address, address.length);
        return sent < 0 ? failure(`sendto ${path}`) : undefined;
      } catch (error) {
        return error as Error;
      }
    },
    close: () => {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    },
  };
}

function openSocket(): number {
  const { socket, failure } = systemCalls();
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw failure('socket');
  return fd;
}

/** struct sockaddr_un (unix(7)); an abstract name ends where the address does. */
function socketAddress(path: string): Buffer {
  const name = path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, Buffer.from(name)]);
}

/** System calls of the C library by their prototypes; all return -1 and leave errno when they fail. */
interface Library {
  func(prototype: string): (...values: (number | Buffer)[]) => number;
}

/** What this program uses of koffi. */
interface Koffi {
  /** null for what the process has loaded already. */
  load(file: null): Library;
  /** errno, as the last call left it. */
  errno(): number;
}

let calls: ReturnType<typeof loadCalls> | undefined;

/** The system calls, loaded once. Throws where koffi is not installed, or where this Node.js cannot load it. */
export const systemCalls = () => (calls ??= loadCalls());

function loadCalls() {
  const koffi = createRequire(import.meta.url)(`@koromix/koffi-linux-${process.arch}`) as Koffi;
  const library = koffi.load(null);
  return {
    socket: library.func('int socket(int domain, int type, int protocol)'),
    sendto: library.func(
      'intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t size)',
    ),
    failure: (call: string): Error => {
      const [code, text] = getSystemErrorMap().get(-koffi.errno()) ?? ['unknown', 'unknown error'];
      return Object.assign(new Error(`${call}: ${text}`), { code });
    },
  };
}

/** Linux's numbers on x86-64 and ARM64. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
