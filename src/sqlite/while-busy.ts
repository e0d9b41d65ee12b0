import { limits } from '../limits.ts';
import { isBusy } from './is-corruption.ts';

/** How a program waits while others have the database locked: for how long, and how often it looks; in milliseconds. */
export interface LockWait {
  waitMs?: number;
  pollMs?: number;
}

/** Runs an action, and again while other programs have the database locked. After `waitMs` it throws SQLite's error. */
export function whileBusy<Result>(
  action: () => Result,
  { waitMs = limits.busyMs, pollMs = limits.busyPollMs }: LockWait = {},
): Result {
  const deadline = uptimeMs() + waitMs;
  for (;;) {
    try {
      return action();
    } catch (error) {
      if (!isBusy(error) || uptimeMs() > deadline) throw error;
      Atomics.wait(pause, 0, 0, pollMs);
    }
  }
}

/** Not `performance.now`, which loads a module of Node's that exim-pipe does without. */
const uptimeMs = () => process.uptime() * 1000;

const pause = new Int32Array(new SharedArrayBuffer(4));
