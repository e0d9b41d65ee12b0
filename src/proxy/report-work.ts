import { sleep } from '../host/clock.ts';
import { showDuration } from '../host/duration.ts';
import type { SdNotify } from '../host/systemd/sd-notify.ts';
import { cut } from '../mail/cut.ts';
import { limits } from '../limits.ts';
import type { Deliverer } from './deliverer.ts';

/**
 * Tells systemd until stopped that the proxy answers, what it has answered since its start, and first of all why it cannot
 * deliver, while that lasts. `about`: its address, its backend and the allowed senders.
 */
export async function reportWork(
  about: string,
  deliverer: Deliverer,
  notify: SdNotify,
  stop: AbortSignal,
): Promise<void> {
  const status = () => {
    const { trouble, teller } = deliverer;
    const { given, repeated } = teller;
    const sinceMs = trouble && deliverer.clock.now() - trouble.since;
    const attention =
      trouble && sinceMs !== undefined
        ? `attention, for ${showDuration(sinceMs)}: ${cut(trouble.text, limits.reasonChars)}; `
        : '';
    const before = repeated > 0 ? `, ${repeated} sent before` : '';
    return (
      `${attention}listens on ${about}; recipients since the start: ` +
      `${given.sent} sent, ${given.deferred} deferred, ${given.failed} refused${before}`
    );
  };
  while (!stop.aborted) {
    notify.working(status);
    const waitMs = Math.min(limits.lookMs, notify.wantedInMs());
    await sleep(deliverer.clock, waitMs, { signal: stop });
  }
  notify.stopping();
}
