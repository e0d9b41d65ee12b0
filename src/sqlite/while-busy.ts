import { limits } from '../limits.ts';
import { isBusy } from './is-corruption.ts';

/**
 * Runs an action, and again every `pollMs` while other programs have the database locked, for limits.busyMs: then it
 * throws SQLite's error.
 */
export function whileBusy<Result>(action: () => Result, pollMs: number): Result {
  const deadline = uptimeMs() + limits.busyMs;
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
