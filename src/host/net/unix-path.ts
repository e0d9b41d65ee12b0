import { limits } from '../../limits.ts';

/** What keeps a path from naming a Unix socket (unix(7)), as a sentence; undefined where it can. */
export function unixPathFault(path: string): string | undefined {
  if (!path.startsWith('/')) return 'the path of a Unix socket begins with a /';
  if (path.includes('\0')) return 'the path of a Unix socket has no NUL in it';
  // Longer ones are cut off by the system, and another socket would be meant.
  if (Buffer.byteLength(path) <= limits.unixPathBytes) return undefined;
  return `the path of a Unix socket has at most ${limits.unixPathBytes} bytes`;
}

/**
 * The path of the Unix socket that a URL names, such as http+unix:/run/proxy.sock; undefined for another
 * URL. HTTP is spoken there, with `localhost` as the host and / as the path.
 */
export function unixPathOf({ protocol, pathname }: URL): string | undefined {
  return protocol === 'http+unix:' ? decodeURIComponent(pathname) : undefined;
}
