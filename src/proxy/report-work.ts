import { setTimeout as sleep } from 'node:timers/promises';
import type { SdNotify } from '../host/sd-notify.ts';
import { limits } from '../mail/limits.ts';
import type { Deliverer } from './deliverer.ts';

/** Tells systemd until stopped that the proxy answers, and what it answered since its start. */
export async function reportWork(
  address: string,
  deliverer: Deliverer,
  notify: SdNotify,
  stop: AbortSignal,
): Promise<void> {
  const status = () => {
    const { given, repeated } = deliverer.teller;
    const before = repeated > 0 ? `, ${repeated} sent before` : '';
    return (
      `listens on ${address}; recipients since the start: ` +
      `${given.sent} sent, ${given.deferred} deferred, ${given.failed} refused${before}`
    );
  };
  while (!stop.aborted) {
    notify.working(status);
    const waitMs = Math.min(limits.lookMs, notify.wantedInMs());
    await sleep(waitMs, undefined, { signal: stop }).catch(() => {}); // Stopped.
  }
  notify.stopping();
}
