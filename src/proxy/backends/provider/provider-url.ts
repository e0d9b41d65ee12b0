import { isLoopback } from '../../../host/net/is-loopback.ts';
import { takes } from '../../../host/option-values.ts';

/**
 * Reads the URL of a provider's API. It is https:, or http: on this machine, where a key cannot be read on the way; it has
 * no user, no query and no fragment. Throws ValueError.
 */
export function parseProviderUrl(text: string): URL {
  const url = URL.parse(text);
  if (url && isProviderUrl(url)) return url;
  throw takes('an https: URL, such as https://api.example.com/', text);
}

/** Whether a URL may be called with a key. */
export function isProviderUrl({ protocol, hostname, username, password, hash }: URL): boolean {
  if (username !== '' || password !== '' || hash !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}
