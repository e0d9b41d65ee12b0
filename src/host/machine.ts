import type { Socket } from 'node:net';
import { systemClock, type Clock } from './clock.ts';
import { connectSocket, type HostPort, type UnixPath } from './net/connect-socket.ts';

/**
 * Time, chance and connections of the machine that a program runs on. Drain and the proxy are handed one; the appengine
 * backend and checks use this machine's.
 */
export interface Machine extends Clock {
  /** Opens a connection, as connectSocket does. */
  connect(to: HostPort | UnixPath, signal: AbortSignal): Promise<Socket>;
}

/** The machine that this program runs on. */
export const thisMachine: Machine = {
  ...systemClock,
  connect: async (to, signal) => connectSocket(to, signal),
};
