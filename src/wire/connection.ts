import { rootCertificates } from 'node:tls';
import { HttpPool } from '../host/net/http-pool.ts';
import { unixPathFault, unixPathOf } from '../host/net/unix-path.ts';
import { webProxyFor } from '../host/net/web-proxy.ts';

/** Where posts go, and how. */
export interface Destination {
  url: URL;
  /** The secret's bytes. */
  key: Buffer;
  /** PEM of further certificate authorities to trust. */
  ca?: string | undefined;
}

/** The destination cannot be used as it is configured. */
export class DestinationError extends Error {
  override readonly name = 'DestinationError';
}

/**
 * Reads the address of a proxy: https:, or http: to this machine or when `insecure` allows it, since
 * anybody on the way could read the mail, or http+unix: and the path of a Unix socket. Throws DestinationError.
 */
export function parseProxyUrl(text: string, insecure: boolean): URL {
  const url = URL.parse(text);
  if (url?.protocol === 'http+unix:') return requireUnixUrl(url);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.hostname === '') {
    // It is not shown: there may be a password in it, or it is the key, put into the wrong place.
    throw new DestinationError(
      "the proxy's URL is not an http(s) URL, such as https://proxy.example.org/",
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new DestinationError("the proxy's URL must not carry a user or password");
  }
  if (url.protocol === 'http:' && !insecure && !isLoopback(url)) {
    throw new DestinationError(
      `${url.href} would carry the mail unencrypted: use https:, or --allow-insecure on a network you trust`,
    );
  }
  url.hash = '';
  return url;
}

function requireUnixUrl(url: URL): URL {
  const fault = unixUrlFault(url);
  if (fault === undefined) return url;
  throw new DestinationError(
    `the proxy's URL names no Unix socket: ${fault}; write it as http+unix:/run/appengine-mailer-proxy.sock`,
  );
}

function unixUrlFault(url: URL): string | undefined {
  if (url.host !== '' || url.search !== '' || url.hash !== '') return 'it is more than a path';
  try {
    return unixPathFault(unixPathOf(url) ?? '');
  } catch {
    return 'a % in the path is written %25'; // It begins no octet, or the octets are not UTF-8.
  }
}

/**
 * The connections to the destination and the difference of its clock to ours. Honours https_proxy,
 * http_proxy, all_proxy and no_proxy, but for this machine itself. Certificates are always verified.
 */
export class Connection {
  readonly url: URL;
  readonly key: Buffer;
  readonly pool: HttpPool;
  /** What the server's clock is ahead of ours, as far as it told; in milliseconds. */
  clockOffsetMs = 0;

  /** Throws WebProxySettingError when the variable that is for the URL cannot be used. */
  constructor({ url, key, ca }: Destination) {
    this.url = url;
    this.key = key;
    this.pool = new HttpPool({
      url,
      webProxy: isHere(url) ? undefined : webProxyFor(url),
      ca: ca === undefined ? undefined : [...rootCertificates, ca],
    });
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

/** Whether the proxy is on this machine. */
function isHere(url: URL): boolean {
  return unixPathOf(url) !== undefined || LOOPBACK.test(url.hostname);
}

/** Whether a URL names this machine, so that nobody is on the way. */
export function isLoopback({ hostname }: URL): boolean {
  return LOOPBACK.test(hostname);
}

const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
