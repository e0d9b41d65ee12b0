import { randomBytes } from 'node:crypto';

/**
 * Time and chance, as a program has them. Drain and the proxy are handed one wherever they measure, wait or draw lots, so
 * that a test can run both in a time of its own. Commands for people, the client library, the appengine backend and
 * single attempts to connect use the machine's.
 */
export interface Clock {
  /** Monotonic time, in milliseconds since some moment: no step of the wall clock moves it. */
  now(): number;
  /** The wall clock, in milliseconds since 1970 UTC. */
  wallNow(): number;
  /** Calls back once, after so many milliseconds. Returns what stops it. An idle timer keeps no program alive. */
  timer(ms: number, callback: () => void, options?: { idle?: boolean }): () => void;
  /** A number from 0 up to 1. */
  random(): number;
  /** So many random bytes. */
  randomBytes(size: number): Buffer;
}

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  timer(ms, callback, { idle = false } = {}) {
    const timer = setTimeout(callback, ms);
    if (idle) timer.unref();
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
  randomBytes: (size) => randomBytes(size),
};

/** Resolves after so many milliseconds, or when the signal aborts. */
export async function sleep(
  clock: Pick<Clock, 'timer'>,
  ms: number,
  { signal, idle = false }: { signal?: AbortSignal; idle?: boolean } = {},
): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      stop();
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const stop = clock.timer(ms, end, { idle });
    signal?.addEventListener('abort', end, { once: true });
  });
}

/** Calls back again and again, every so many milliseconds. Returns what ends it. */
export function every(clock: Pick<Clock, 'timer'>, ms: number, callback: () => void): () => void {
  let stop: (() => void) | undefined;
  const again = () => {
    stop = clock.timer(ms, () => {
      again();
      callback();
    });
  };
  again();
  return () => stop?.();
}
