import { rootCertificates } from 'node:tls';
import { Agent, EnvHttpProxyAgent, type Dispatcher } from 'undici';
import { limits } from '../mail/limits.ts';

/** Where posts go, and how. */
export interface Destination {
  url: URL;
  /** The secret's bytes. */
  key: Buffer;
  /** PEM of further certificate authorities to trust. */
  ca?: string | undefined;
}

/** The destination cannot be used as it is configured. */
export class DestinationError extends Error {}

/**
 * Reads the address of a proxy: https:, or http: to this machine or when `insecure` allows it, since
 * anybody on the way could read the mail. Throws DestinationError.
 */
export function parseProxyUrl(text: string, insecure: boolean): URL {
  const url = URL.parse(text);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.hostname === '') {
    // It is not shown: there may be a password in it, or it is the key, put into the wrong place.
    throw new DestinationError(
      "the proxy's URL is not an http(s) URL, such as https://proxy.example.org/",
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new DestinationError("the proxy's URL must not carry a user or password");
  }
  if (url.protocol === 'http:' && !insecure && !LOOPBACK.test(url.hostname)) {
    throw new DestinationError(
      `${url.href} would carry the mail unencrypted: use https:, or --allow-insecure on a network you trust`,
    );
  }
  url.hash = '';
  return url;
}

/**
 * A connection pool to the destination and the difference of its clock to ours. Honours https_proxy,
 * http_proxy and no_proxy, but for this machine itself. Certificates are always verified.
 */
export class Connection {
  readonly url: URL;
  readonly key: Buffer;
  readonly dispatcher: Dispatcher;
  /** What the server's clock is ahead of ours, as far as it told; in milliseconds. */
  clockOffsetMs = 0;

  constructor({ url, key, ca }: Destination) {
    this.url = url;
    this.key = key;
    const tls = ca === undefined ? {} : { ca: [...rootCertificates, ca] };
    const options: Agent.Options = {
      connections: limits.inFlight + 1,
      pipelining: 1,
      connect: { ...tls, timeout: limits.connectMs },
      keepAliveTimeout: limits.clientIdleMs,
      keepAliveMaxTimeout: limits.clientIdleMs,
      // One time limit for the whole attempt, set by the attempt itself.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxResponseSize: limits.answerBytes,
    };
    this.dispatcher = LOOPBACK.test(url.hostname)
      ? new Agent(options)
      : new EnvHttpProxyAgent({ ...options, requestTls: tls });
  }

  async close(): Promise<void> {
    await this.dispatcher.destroy();
  }
}

const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
