import { isLoopback } from '../host/net/is-loopback.ts';
import { limits } from '../limits.ts';
import { unixPathFault, unixPathOf } from '../host/net/unix-path.ts';

/**
 * Reads the addresses of proxies, separated by spaces, in the order in which they are to be used; at least one. Each is as
 * parseProxyUrl reads it. Throws ProxyUrlError.
 */
export function parseProxyUrls(text: string, insecure: boolean): URL[] {
  const words = text.trim().split(/\s+/);
  if (words.length > limits.proxies) {
    throw new ProxyUrlError(
      `there are ${words.length} URLs of proxies, and at most ${limits.proxies} are used`,
    );
  }
  const urls = words.map((word) => parseProxyUrl(word, insecure));
  const twice = urls.find(({ href }, place) => urls.findIndex((url) => url.href === href) < place);
  if (urls.some(({ href }) => href.length > limits.proxyUrlChars)) {
    throw new ProxyUrlError(`the proxy's URL is longer than ${limits.proxyUrlChars} characters`);
  }
  if (twice) throw new ProxyUrlError(`${twice.href} is named twice`);
  return urls;
}

/**
 * Reads the address of a proxy: https:, or http: to this machine or when `insecure` allows it, since
 * anybody on the way could read the mail, or http+unix: and the path of a Unix socket. Throws ProxyUrlError.
 */
function parseProxyUrl(text: string, insecure: boolean): URL {
  const url = URL.parse(text);
  if (url?.protocol === 'http+unix:') return requireUnixUrl(url);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.hostname === '') {
    // It is not shown: there may be a password in it, or it is the key, put into the wrong place.
    throw new ProxyUrlError(
      "the proxy's URL is not an http(s) URL, such as https://proxy.example.org/",
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new ProxyUrlError("the proxy's URL must not carry a user or password");
  }
  if (url.protocol === 'http:' && !insecure && !isLoopback(url.hostname)) {
    throw new ProxyUrlError(
      `${url.href} would carry the mail unencrypted: use https:, or --allow-insecure on a network you trust`,
    );
  }
  url.hash = '';
  return url;
}

function requireUnixUrl(url: URL): URL {
  const fault = unixUrlFault(url);
  if (fault === undefined) return url;
  throw new ProxyUrlError(
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

/** The URL cannot be that of a proxy. */
export class ProxyUrlError extends Error {
  override readonly name = 'ProxyUrlError';
}

/** Whether the proxy is on this machine. */
export function isHere(url: URL): boolean {
  return unixPathOf(url) !== undefined || isLoopback(url.hostname);
}
