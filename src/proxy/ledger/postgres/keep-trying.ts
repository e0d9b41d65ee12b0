import { sleep, type Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';

/** How to go on trying. */
export interface Trying {
  clock: Clock;
  stop: AbortSignal;
  /** Hears of each failure. */
  failed: (reason: Error) => void;
  /** Tells people why it fails: each reason at once, and again every limits.faultRepeatMs. */
  tell: (reason: Error) => void;
  /** Whether it is of no use to go on. */
  isFinal?: (reason: Error) => boolean;
}

/** Opens something, however long it takes until that succeeds; undefined when `stop` aborts. Rejects with what is final. */
export async function keepTrying<Opened>(
  open: () => Promise<Opened>,
  { clock, stop, failed, tell, isFinal = () => false }: Trying,
): Promise<Opened | undefined> {
  const toldAt = new Map<string, number>();
  while (!stop.aborted) {
    try {
      return await open();
    } catch (error) {
      const reason = error as Error;
      if (isFinal(reason)) throw reason;
      failed(reason);
      const now = clock.now();
      if (now - (toldAt.get(reason.message) ?? -Infinity) >= limits.faultRepeatMs) {
        toldAt.set(reason.message, now);
        tell(reason);
      }
    }
    await sleep(clock, limits.databaseRetryMs, { signal: stop, idle: true });
  }
  return undefined;
}
