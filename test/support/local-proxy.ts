import type { TestContext } from 'node:test';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { Keyring } from '../../src/proxy/policy/keyring.ts';
import { startProxy, type Proxy } from '../../src/proxy/http/proxy.ts';
import { ControlledDeliverer } from './controlled-deliverer.ts';

/** A proxy in the test's own process, whose parts and clock the test can reach. */
export class LocalProxy {
  readonly key = 'a secret key';
  readonly controlled: ControlledDeliverer;
  readonly proxy: Proxy;
  readonly journal: string[];

  private constructor(controlled: ControlledDeliverer, proxy: Proxy, journal: string[]) {
    this.controlled = controlled;
    this.proxy = proxy;
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
    const proxy = await startProxy({ ...places, journal }, async () => ({ deliverer, keys }));
    const local = new LocalProxy(controlled, proxy, lines);
    t.after(async () => {
      t.mock.timers.reset(); // With a mocked clock it may wait for ever.
      await proxy.stop();
    });
    return local;
  }

  get address(): string {
    return this.proxy.addresses[0] ?? '';
  }
}
