import { request } from 'node:http';
import type { Socket } from 'node:net';
import { ConnectError } from './connect-error.ts';
import { connectSocket, type HostPort } from './connect-socket.ts';
import { secureSocket } from './secure-socket.ts';

/**
 * The server of https_proxy cannot be used, or lets nothing through: then `code` is HTTP_ and the status of
 * its answer.
 */
export class WebProxyError extends ConnectError {
  override name = 'WebProxyError';
}

/** The variables name no server that can be used. */
export class WebProxySettingError extends Error {
  override readonly name = 'WebProxySettingError';
}

/**
 * The web proxy by which a URL is reached, undefined where there is none: https_proxy, or else http_proxy,
 * for https:, http_proxy for http:, unless no_proxy names the host, a domain that it is in, or *. Small
 * letters win over capitals. Throws WebProxySettingError.
 */
export function webProxyFor(url: URL, environment = process.env): URL | undefined {
  const variable = (name: string) => environment[name] ?? environment[name.toUpperCase()];
  const forHttp = variable('http_proxy');
  const text = (url.protocol === 'https:' && variable('https_proxy')) || forHttp;
  if (!text || isExcepted(url, variable('no_proxy') ?? '')) return undefined;
  const proxy = URL.parse(text);
  // It is not shown: there may be a password in it.
  if (!proxy || !/^https?:$/.test(proxy.protocol) || !hasReadablePassword(proxy)) {
    throw new WebProxySettingError(
      'https_proxy is not an http(s) URL, such as http://proxy.example.org:3128/; a % in its password is written %25',
    );
  }
  return proxy;
}

/** A % that begins no octet cannot be decoded. */
function hasReadablePassword({ username, password }: URL): boolean {
  return !/%(?![0-9a-f]{2})/i.test(username + password);
}

/** Asks a web proxy for a connection to a host (RFC 9110 9.3.6). Rejects with a WebProxyError. */
export async function connectThrough(
  proxy: URL,
  to: HostPort,
  signal: AbortSignal,
): Promise<Socket> {
  const server = hostPort(proxy);
  try {
    const plain = await connectSocket(server, signal);
    const isSecure = proxy.protocol === 'https:';
    const socket = isSecure ? await secureSocket(plain, { host: server.host }, signal) : plain;
    return await tunnel(socket, proxy, to, signal);
  } catch (error) {
    if (error instanceof WebProxyError) throw error;
    const { message, code = 'UNKNOWN' } = error as NodeJS.ErrnoException;
    throw new WebProxyError(message, code, { cause: error });
  }
}

/** Host and port of a URL, without the brackets of an IPv6 address. */
export function hostPort({ hostname, port, protocol }: URL): HostPort {
  const host = hostname.replace(/^\[|\]$/g, '');
  return { host, port: Number(port || (protocol === 'https:' ? 443 : 80)) };
}

async function tunnel(
  socket: Socket,
  { host: proxyHost, username, password }: URL,
  { host, port }: HostPort,
  signal: AbortSignal,
): Promise<Socket> {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const sent = request({
    method: 'CONNECT',
    path: authority,
    createConnection: () => socket,
    headers: {
      host: authority,
      connection: 'keep-alive',
      'proxy-connection': 'keep-alive',
      ...(username !== '' && {
        'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}`,
      }),
    },
  });
  const silent = `${proxyHost} accepts the connection and does not answer CONNECT`;
  const abort = () => sent.destroy(ConnectError.givenUp(signal, silent));
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await new Promise<Socket>((resolve, reject) => {
      sent.on('error', reject);
      sent.once('connect', ({ statusCode = 0, statusMessage }, _socket, head) => {
        if (statusCode >= 200 && statusCode < 300) {
          if (head.length > 0) socket.unshift(head);
          resolve(socket);
        } else {
          const text = `it answered ${statusCode} ${statusMessage} to CONNECT ${authority}`;
          reject(new WebProxyError(text, `HTTP_${statusCode}`));
        }
      });
      sent.end();
      if (signal.aborted) abort();
    });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function isExcepted({ hostname, port, protocol }: URL, noProxy: string): boolean {
  const own = port || (protocol === 'https:' ? '443' : '80');
  return noProxy.split(/[,\s]+/).some((entry) => {
    if (entry === '') return false;
    const [, name = entry, onlyPort = own] = /^(.+):(\d+)$/.exec(entry) ?? [];
    const domain = name.replace(/^\*?\./, '').toLowerCase();
    const isIn = domain === '*' || hostname === domain || hostname.endsWith(`.${domain}`);
    return isIn && onlyPort === own;
  });
}
