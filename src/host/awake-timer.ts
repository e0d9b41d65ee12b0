import { limits } from '../limits.ts';
import type { Clock } from './clock.ts';

/**
 * Calls back after `ms` milliseconds in which this program was awake, when it has read what arrived by then.
 * After a suspension (a paused virtual machine, SIGSTOP) timers run before the answers that wait in the
 * sockets are read, and others may still be on their way: then all of the time is given once more. Returns
 * what stops it.
 */
export function awakeTimer(ms: number, callback: () => void, clock: Clock): () => void {
  let stopTimer: (() => void) | undefined;
  let stopped = false;
  const start = () => {
    const dueAt = clock.now() + ms;
    stopTimer = clock.timer(
      ms,
      () => {
        if (clock.now() - dueAt > limits.asleepMs) start();
        // The sockets are read between timers and immediates.
        else setImmediate(() => setImmediate(() => stopped || callback()));
      },
      { idle: true },
    ); // What is waited for keeps the program alive, and not its time limit.
  };
  start();
  return () => {
    stopped = true;
    stopTimer?.();
  };
}
