import type { TestContext } from 'node:test';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { Keyring } from '../../src/proxy/policy/keyring.ts';
import { HttpServer } from '../../src/proxy/http/http-server.ts';
import { ControlledDeliverer } from './controlled-deliverer.ts';

/** A proxy in the test's own process, whose parts and clock the test can reach. */
export class LocalProxy {
  readonly key = 'a secret key';
  readonly controlled: ControlledDeliverer;
  readonly server: HttpServer;
  readonly journal: string[];

  private constructor(controlled: ControlledDeliverer, server: HttpServer, journal: string[]) {
    this.controlled = controlled;
    this.server = server;
    this.journal = journal;
  }

  /** `hears` is told each line of the journal before it is kept. */
  static async start(
    t: TestContext,
    hears: (line: string) => void = () => {},
  ): Promise<LocalProxy> {
    const controlled = new ControlledDeliverer(t);
    const lines: string[] = [];
    const journal = proxyJournal(({ text }) => {
      hears(text);
      lines.push(text);
    });
    const { deliverer } = controlled;
    const key = { secret: Buffer.from('a secret key'), name: '', allowedSenders: undefined };
    const keys = new Keyring(() => ({ keys: [key], faults: [] }));
    const places = { wanted: { host: '127.0.0.1', port: 0 } };
    const server = new HttpServer(journal);
    await server.start(places, async () => ({ deliverer, keys }));
    const local = new LocalProxy(controlled, server, lines);
    t.after(async () => {
      t.mock.timers.reset(); // With a mocked clock it may wait for ever.
      await server.stop();
    });
    return local;
  }

  get address(): string {
    return this.server.addresses[0] ?? '';
  }
}
