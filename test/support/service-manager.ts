import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { DatagramServer } from './datagram-server.ts';
import { scratch } from './scratch.ts';

/** What stands where systemd would: it takes what services tell by sd_notify(3). */
export class ServiceManager {
  /** For the environment of a service; with a watchdog of so many milliseconds. */
  readonly environment: { NOTIFY_SOCKET: string; WATCHDOG_USEC?: string };
  /** Each datagram, in its order. */
  readonly told: string[] = [];
  readonly #lookers = new Set<() => void>();

  constructor(t: TestContext, watchdogMs?: number) {
    const path = join(scratch(t), 'notify');
    this.environment = {
      NOTIFY_SOCKET: path,
      ...(watchdogMs !== undefined && { WATCHDOG_USEC: String(watchdogMs * 1000) }),
    };
    const server = new DatagramServer(t, path).listen(() => {
      this.told.push(String(server.received.at(-1)));
      for (const look of this.#lookers) look();
    });
  }

  /** Waits until `times` datagrams have matched. */
  async hears(pattern: RegExp, times = 1): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.told.filter((each) => pattern.test(each))[times - 1];
        if (found === undefined) return;
        this.#lookers.delete(look);
        resolve(found);
      };
      this.#lookers.add(look);
      look();
    });
  }
}
