import { thisMachine, type Machine } from '../host/machine.ts';
import { rootCertificates } from 'node:tls';
import { HttpPool } from '../host/net/http-pool.ts';
import { webProxyFor } from '../host/net/web-proxy.ts';
import { isHere } from './proxy-url.ts';

/** Where posts go, and how. */
export interface Destination {
  url: URL;
  /** The secret's bytes. */
  key: Buffer;
  /** PEM of further certificate authorities to trust. */
  ca?: string | undefined;
}

/**
 * The connections to the destination and the difference of its clock to ours. Honours https_proxy,
 * http_proxy, all_proxy and no_proxy, but for this machine itself. Certificates are always verified.
 */
export class Connection {
  readonly url: URL;
  readonly key: Buffer;
  readonly pool: HttpPool;
  readonly machine: Machine;
  /** What the server's clock is ahead of ours, as far as it told; in milliseconds. */
  clockOffsetMs = 0;
  /** The id of the server's ledger by its latest signed answer; null: it tells none; undefined: there was no answer yet. */
  ledger: string | null | undefined;
  /** Whether its latest answer told that it takes bundles. */
  takesBundles = false;

  /** Throws WebProxySettingError when the variable that is for the URL cannot be used. */
  constructor({ url, key, ca }: Destination, machine: Machine = thisMachine) {
    this.machine = machine;
    this.url = url;
    this.key = key;
    const route = {
      url,
      webProxy: isHere(url) ? undefined : webProxyFor(url),
      ca: ca === undefined ? undefined : [...rootCertificates, ca],
    };
    this.pool = new HttpPool(route, machine);
  }

  /** Lets what is being sent go on, and gives up what only waits for its connection. */
  end(): void {
    this.pool.end();
  }

  /** Ends what is in flight. */
  async close(): Promise<void> {
    await this.pool.close();
  }
}
