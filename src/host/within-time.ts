import { setMaxListeners } from 'node:events';
import { systemClock, type Clock } from './clock.ts';
import { awakeTimer } from './awake-timer.ts';

/** The time for something was up. */
export class TimeUpError extends Error {
  override readonly name = 'TimeUpError';
  readonly code = 'ETIMEDOUT';
}

/**
 * Does work that ends when its signal aborts: when one of `signals` does, with its reason, or after `ms`
 * milliseconds, with a TimeUpError that says `text`, such as `no answer`, and how long that is. The time is
 * one in which the program was awake, unless another timer is given.
 */
export async function withinTime<T>(
  ms: number,
  text: string,
  {
    signals = [],
    clock = systemClock,
    startTimer = (afterMs: number, callback: () => void) => awakeTimer(afterMs, callback, clock),
  }: { signals?: readonly AbortSignal[]; clock?: Clock; startTimer?: Clock['timer'] },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const late = () => controller.abort(new TimeUpError(`${text} within ${Math.round(ms / 1000)} s`));
  const stopTimer = startTimer(ms, late);
  const stop = () => controller.abort(signals.find(({ aborted }) => aborted)?.reason);
  for (const signal of signals) {
    setMaxListeners(0, signal); // As many as there is work at once.
    signal.addEventListener('abort', stop, { once: true });
  }
  if (signals.some(({ aborted }) => aborted)) stop();
  try {
    return await work(controller.signal);
  } finally {
    stopTimer();
    for (const signal of signals) signal.removeEventListener('abort', stop);
  }
}
