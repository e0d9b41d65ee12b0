import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { scratch } from './scratch.ts';

/** The server's side of unix-dgram, which only tests use. */
interface Server {
  bind(path: string): void;
  on(event: 'message', told: (datagram: Buffer) => void): void;
  close(): void;
}

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
    const { createSocket } = createRequire(import.meta.url)('unix-dgram') as {
      createSocket: (type: 'unix_dgram') => Server;
    };
    const server = createSocket('unix_dgram');
    server.on('message', (datagram) => {
      this.told.push(datagram.toString());
      for (const look of this.#lookers) look();
    });
    server.bind(path);
    t.after(() => server.close());
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
