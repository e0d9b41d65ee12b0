import { once } from 'node:events';
import { lstatSync, rmSync } from 'node:fs';
import { isIPv6, SocketAddress, type ListenOptions, type Server } from 'node:net';
import { CommandError, exitCodes } from '../command-error.ts';
import { connectSocket, type HostPort, type UnixPath } from './connect-socket.ts';
import { hostPortText, parseHostPort } from './host-port.ts';
import { ValueError } from '../option-values.ts';
import { unixPathOfSocket } from '../systemd/systemd-sockets.ts';
import { unixPathFault } from './unix-path.ts';

/** Where to listen. */
export interface ListenAt {
  /** The address that --listen or the default names. */
  wanted?: HostPort | UnixPath | undefined;
  /** File descriptors of sockets that systemd hands over. */
  handedOver?: readonly number[];
}

/** A server that listens, and where: HOST:PORT or unix:PATH. */
export interface Listener<S extends Server> {
  server: S;
  address: string;
}

/** Reads HOST:PORT or unix:PATH. Throws ValueError. */
export function parseListen(text: string): HostPort | UnixPath {
  if (!text.startsWith('unix:')) return parseHostPort(text, 'HOST:PORT or unix:PATH');
  const path = text.slice('unix:'.length);
  const fault = unixPathFault(path);
  if (fault === undefined) return { path };
  throw new ValueError(`cannot be ${text}: ${fault}`);
}

/**
 * Listens on every socket that is handed over, and also on the wanted address when no such socket has it, each with a
 * server of its own. When it rejects, with CommandError 78, it listens nowhere.
 */
export async function listen<S extends Server>(
  makeServer: () => S,
  { wanted, handedOver = [] }: ListenAt,
): Promise<Listener<S>[]> {
  const listeners: Listener<S>[] = [];
  const begin = async (at: HostPort | UnixPath | { fd: number }) => {
    const server = makeServer();
    const address = await ('path' in at ? listenAtPath(server, at.path) : bind(server, at));
    listeners.push({ server, address });
  };
  try {
    for (const fd of handedOver) await begin({ fd });
    const isThere = listeners.some(({ address }) => wanted && address === addressText(wanted));
    if (wanted && !isThere) await begin(wanted);
    return listeners;
  } catch (error) {
    for (const { server } of listeners) server.close();
    const where = wanted ? addressText(wanted) : 'the sockets of systemd';
    const text = `cannot listen on ${where}: ${(error as Error).message}`;
    throw new CommandError(exitCodes.configuration, text);
  }
}

/** The TCP addresses on which systemd listens although another address is wanted. */
export function unwanted(
  { wanted, handedOver = [] }: ListenAt,
  addresses: readonly string[],
): string[] {
  const held = addresses.slice(0, handedOver.length);
  const isAmong = !wanted || held.length === addresses.length;
  return isAmong ? [] : held.filter((address) => !address.startsWith('unix:'));
}

/** The owner and the group may connect. A socket that a program left when it died is replaced. */
async function listenAtPath(server: Server, path: string): Promise<string> {
  try {
    return await bind(server, { path });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    await requireLeftover(path);
    rmSync(path, { force: true });
    return bind(server, { path });
  }
}

/** Rejects unless the path is a socket on which no program listens. */
async function requireLeftover(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) {
    throw new Error(`${path} is there and is not a socket`);
  }
  const failed = await connectSocket({ path }, new AbortController().signal).then(
    (socket) => void socket.destroy(),
    (error: NodeJS.ErrnoException) => error,
  );
  if (failed?.code === 'ECONNREFUSED' || failed?.code === 'ENOENT') return;
  throw new Error(`another program listens on ${path} (EADDRINUSE)`);
}

async function bind(server: Server, at: ListenOptions & { fd?: number }): Promise<string> {
  // The socket is made within this call, so that its mode is never wider.
  const umask = process.umask(0o117);
  try {
    server.listen(at);
  } finally {
    process.umask(umask);
  }
  await once(server, 'listening');
  const bound = server.address();
  if (bound === null) return addressText({ path: unixPathOfSocket(at.fd ?? -1) });
  return addressText(
    typeof bound === 'string' ? { path: bound } : { ...bound, host: bound.address },
  );
}

/** HOST:PORT, with an IPv6 address in brackets, or unix:PATH. */
export function addressText(at: HostPort | UnixPath): string {
  if ('path' in at) return `unix:${at.path}`;
  const { host, port } = at;
  // Of the many forms of an IPv6 address only one is shown.
  if (!isIPv6(host) || host.includes('%')) return hostPortText(at);
  return hostPortText({ host: new SocketAddress({ address: host, family: 'ipv6' }).address, port });
}
