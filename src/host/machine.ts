import type { Socket } from 'node:net';
import { systemClock, type Clock } from './clock.ts';
import { connectSocket, type HostPort, type UnixPath } from './net/connect-socket.ts';

/** What a program gets from the machine that it runs on: time, chance and connections. */
export interface Machine extends Clock {
  /** Opens a connection, as connectSocket does. */
  connect(to: HostPort | UnixPath, signal: AbortSignal): Promise<Socket>;
}

/** The machine that this program runs on. */
export const thisMachine: Machine = {
  ...systemClock,
  connect: async (to, signal) => connectSocket(to, signal),
};
