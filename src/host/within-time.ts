import { setMaxListeners } from 'node:events';
import { systemClock, type Clock } from './clock.ts';
import { awakeTimer } from './awake-timer.ts';

/** The time for something was up. */
export class TimeUpError extends Error {
  override readonly name = 'TimeUpError';
  readonly code = 'ETIMEDOUT';
}

/**
 * The end of the time that work has. Its signal and its promise are made when they are first asked for: most work needs
 * one of them or none, and a signal takes longer than many a step of the work.
 */
export interface TimeLimit {
  /** Aborts with the reason. */
  readonly signal: AbortSignal;
  /** Resolves when the signal would abort. */
  readonly reached: Promise<undefined>;
}

/**
 * Does work that ends when its time limit is reached: when one of `signals` aborts, with its reason, or after `ms`
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
  work: (limit: TimeLimit) => Promise<T>,
): Promise<T> {
  const limit = new ReachableLimit();
  const late = () => limit.reach(new TimeUpError(`${text} within ${Math.round(ms / 1000)} s`));
  const stopTimer = startTimer(ms, late);
  const stop = () => limit.reach(signals.find(({ aborted }) => aborted)?.reason);
  for (const signal of signals) {
    setMaxListeners(0, signal); // As many as there is work at once.
    signal.addEventListener('abort', stop, { once: true });
  }
  if (signals.some(({ aborted }) => aborted)) stop();
  try {
    return await work(limit);
  } finally {
    stopTimer();
    for (const signal of signals) signal.removeEventListener('abort', stop);
  }
}

class ReachableLimit implements TimeLimit {
  readonly #controller = new AbortController();
  #isReached = false;
  #tell: (() => void) | undefined;
  #reached: Promise<undefined> | undefined;

  /** Node.js makes the signal of a controller when it is asked for. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get reached(): Promise<undefined> {
    this.#reached ??= new Promise((resolve) => {
      if (this.#isReached) resolve(undefined);
      this.#tell = () => resolve(undefined);
    });
    return this.#reached;
  }

  reach(reason: unknown): void {
    this.#isReached = true;
    this.#controller.abort(reason);
    this.#tell?.();
  }
}
