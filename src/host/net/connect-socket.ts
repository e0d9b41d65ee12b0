import dns, { type LookupAddress } from 'node:dns';
import { connect, isIP, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { limits } from '../../limits.ts';
import { ConnectError } from './connect-error.ts';
import { hostPortText } from './host-port.ts';
import { withinTime } from '../within-time.ts';

/** A name or an IP address, and a TCP port. */
export interface HostPort {
  host: string;
  port: number;
  /** So many of the addresses of the name, the best first, are tried after the others. */
  passedOver?: number;
  /** Is told where a connection leads. */
  reached?: ((reached: Reached) => void) | undefined;
}

/** The address of a name that took a connection. */
export interface Reached {
  address: string;
  /**
   * Those of its family that failed before. The other family is left out: its address is mostly one of the same server, and
   * many networks carry only one family.
   */
  failed: FailedAddress[];
  /** No other address was tried before it. */
  isFirst: boolean;
}

/** An address, and what is wrong with it. */
export type FailedAddress = [address: string, fault: string];

/** A Unix socket, by its path. */
export interface UnixPath {
  path: string;
}

/** Finds all addresses of a name, the best first, at least one. */
export type Lookup = (host: string) => Promise<LookupAddress[]>;

/**
 * Opens a connection to a Unix socket, or a TCP connection as Happy Eyeballs do (RFC 8305): all addresses of the
 * name are tried, the families by turns. The next attempt begins after limits.attemptDelayMs, or at once when one failed; those before
 * it go on, and the first that connects is taken. Node's own connect gives up each attempt but the last
 * after 250 ms, so that what is far away is never reached. Takes at most limits.connectMs, names
 * included, and ends when `signal` aborts. Rejects with an Error that has a `code`; a ConnectError names
 * every address and what became of it.
 */
export async function connectSocket(
  to: HostPort | UnixPath,
  signal: AbortSignal,
  find: Lookup = findAddresses,
): Promise<Socket> {
  return withinTime(
    limits.connectMs,
    'no connection',
    { signals: [signal] },
    async ({ signal: inTime }) => {
      if ('path' in to) return firstToConnect([to], inTime);
      const { host, port, passedOver = 0, reached } = to;
      const addresses = await unlessAborted(find(host), inTime, `looking up the name ${host}`);
      const turns = byTurns(addresses);
      const late = passedOver % Math.max(1, turns.length);
      return firstToConnect(
        [...turns.slice(late), ...turns.slice(0, late)].map(({ address, family }) => ({
          host: address,
          port,
          family,
        })),
        inTime,
        reached,
      );
    },
  );
}

/** Where one attempt goes. */
type Address = (HostPort & { family: number }) | UnixPath;

async function firstToConnect(
  addresses: Address[],
  signal: AbortSignal,
  reached?: HostPort['reached'],
): Promise<Socket> {
  const attempts = new Map<Socket, Address>();
  const failures: { text: string; code: string; address: Address }[] = [];
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Socket>((resolve, reject) => {
      const abort = () => {
        const open = [...attempts.values()].map((each) => `${shown(each)} does not answer`);
        const all = [...failures.map(({ text }) => text), ...open];
        reject(ConnectError.givenUp(signal, all.join('; ')));
      };
      const next = () => {
        clearTimeout(timer);
        const address = addresses.shift();
        if (!address) return;
        const socket = connect(address);
        attempts.set(socket, address);
        socket.once('connect', () => {
          attempts.delete(socket);
          if ('host' in address) reached?.(reachedAt(address, failures, attempts.size));
          resolve(socket);
        });
        // It stays: an error that comes while nobody else listens must not end the program.
        socket.on('error', (error: NodeJS.ErrnoException) => {
          if (!attempts.delete(socket)) return;
          failures.push({ text: textOf(error), code: error.code ?? error.name, address });
          if (addresses.length > 0) next();
          else if (attempts.size === 0) reject(allFailed(failures));
        });
        if (addresses.length > 0) timer = setTimeout(next, limits.attemptDelayMs);
      };
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
      else next();
    }).then((socket) => socket.setNoDelay(true).setKeepAlive(true, limits.keepAliveMs));
  } finally {
    clearTimeout(timer);
    const losers = [...attempts.keys()];
    attempts.clear();
    for (const socket of losers) socket.destroy();
  }
}

function reachedAt(
  { host, family }: Exclude<Address, UnixPath>,
  failures: readonly { text: string; address: Address }[],
  unanswered: number,
): Reached {
  const failed = failures.flatMap(({ text, address }): FailedAddress[] =>
    'host' in address && address.family === family ? [[address.host, text]] : [],
  );
  return { address: host, failed, isFirst: failures.length + unanswered === 0 };
}

/** The address families by turns, beginning with that of the best address (RFC 8305 4). */
function byTurns(addresses: LookupAddress[]): LookupAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const second = addresses.filter(({ family }) => family !== addresses[0]?.family);
  const turns = Math.max(first.length, second.length);
  return Array.from({ length: turns }, (_, turn) => [first[turn], second[turn]])
    .flat()
    .filter((address) => address !== undefined);
}

/** /etc/hosts counts as well. One question at a time for a name: each takes one of Node's four threads. */
async function findAddresses(host: string): Promise<LookupAddress[]> {
  if (isIP(host) > 0) return [{ address: host, family: isIP(host) }];
  const running = lookups.get(host);
  if (running) return running;
  const found = promisify(dns.lookup)(host, { all: true, verbatim: true });
  lookups.set(host, found);
  return found.finally(() => lookups.delete(host));
}

const lookups = new Map<string, Promise<LookupAddress[]>>();

/** Nothing ends a question to the system's resolver; its answer is then not waited for. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, text: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(ConnectError.givenUp(signal, text));
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    work.then(resolve, reject);
  });
}

/** The code is that of the last: the first may be of a family that this machine does not have. */
function allFailed(failures: { text: string; code: string }[]): ConnectError {
  const all = failures.map(({ text }) => text).join('; ');
  return new ConnectError(all, failures.at(-1)?.code ?? 'ENODATA');
}

/** Without the local address that Node adds to some. */
function textOf({ message }: Error): string {
  return message.replace(/ - Local \(.*\)$/, '');
}

function shown(address: Address): string {
  return 'path' in address ? address.path : hostPortText(address);
}
