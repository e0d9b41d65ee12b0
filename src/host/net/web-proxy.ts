import { request } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';
import { ConnectError } from './connect-error.ts';
import type { Machine } from '../machine.ts';
import type { HostPort } from './connect-socket.ts';
import { hostPortText } from './host-port.ts';
import { secureSocket } from './secure-socket.ts';

/** A web proxy, and the variable of the environment that names it. */
export interface WebProxy {
  url: URL;
  variable: string;
}

/**
 * A web proxy cannot be used, or lets nothing through: then `code` is HTTP_ and the status of its answer.
 */
export class WebProxyError extends ConnectError {
  override name = 'WebProxyError';
  /** The variable that names it. */
  readonly variable: string;

  constructor(variable: string, text: string, code: string, options?: ErrorOptions) {
    super(text, code, options);
    this.variable = variable;
  }
}

/** The variables name no server that can be used. */
export class WebProxySettingError extends Error {
  override readonly name = 'WebProxySettingError';
}

/**
 * The web proxy by which a URL is reached, undefined where there is none, as curl reads the environment
 * (curl(1), ENVIRONMENT): https_proxy for https:, http_proxy for http:, else all_proxy, unless no_proxy names
 * the host. Capitals count where small letters are unset or empty, but not HTTP_PROXY, which a web server may
 * have from a request. Without a scheme it is http:, without a port 1080, or 443 for https:. Throws
 * WebProxySettingError, which names the variable.
 */
export function webProxyFor(url: URL, environment = process.env): WebProxy | undefined {
  const first = (...names: string[]) => names.find((name) => environment[name]);
  const own = url.protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy'];
  const variable = first(...own, 'all_proxy', 'ALL_PROXY');
  const noProxy = environment[first('no_proxy', 'NO_PROXY') ?? ''] ?? '';
  if (variable === undefined || isExcepted(url.hostname, noProxy)) return undefined;
  const proxy = parseWebProxy(environment[variable]?.trim() ?? '');
  // It is not shown: there may be a password in it.
  if (!proxy || !hasReadablePassword(proxy)) {
    throw new WebProxySettingError(
      `${variable} is not an http(s) URL, such as http://proxy.example.org:3128/; a % in its password is written %25`,
    );
  }
  return { url: proxy, variable };
}

function parseWebProxy(text: string): URL | undefined {
  const [, scheme = 'http', rest = ''] = /^(?:([a-z][a-z\d+.-]*):\/\/)?(.*)$/i.exec(text) ?? [];
  const proxy = /^https?$/i.test(scheme) ? URL.parse(`${scheme}://${rest}`) : null;
  if (!proxy) return undefined;
  const [authority = ''] = rest.split(/[/?#]/);
  if (proxy.protocol === 'http:' && !/:\d+$/.test(authority)) proxy.port = '1080';
  return proxy;
}

/** A % that begins no octet cannot be decoded. */
function hasReadablePassword({ username, password }: URL): boolean {
  return !/%(?![0-9a-f]{2})/i.test(username + password);
}

/** Asks a web proxy for a connection to a host (RFC 9110 9.3.6). Rejects with a WebProxyError. */
export async function connectThrough(
  { url, variable }: WebProxy,
  to: HostPort,
  signal: AbortSignal,
  machine: Pick<Machine, 'connect'>,
): Promise<Socket> {
  const server = hostPort(url);
  try {
    const plain = await machine.connect(server, signal);
    const isSecure = url.protocol === 'https:';
    const socket = isSecure ? await secureSocket(plain, { host: server.host }, signal) : plain;
    return await tunnel(socket, url, to, signal);
  } catch (error) {
    const { message, code = 'UNKNOWN' } = error as NodeJS.ErrnoException;
    throw new WebProxyError(variable, message, code, { cause: error });
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
  to: HostPort,
  signal: AbortSignal,
): Promise<Socket> {
  const authority = hostPortText(to);
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
          reject(new ConnectError(text, `HTTP_${statusCode}`));
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

/** Whether no_proxy has a host: as an address, in a network, as a name, or in a domain. */
function isExcepted(hostname: string, noProxy: string): boolean {
  if (noProxy === '*') return true;
  const host = withoutDot(hostname.replace(/^\[|\]$/g, ''));
  const names = isIP(host) ? isInNetwork : isInDomain;
  return noProxy.split(/[,\s]+/).some((entry) => names(host, entry));
}

function isInNetwork(address: string, entry: string): boolean {
  const [, network = '', bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
  const family = isIP(network);
  const all = family === 6 ? 128 : 32;
  const length = Number(bits ?? all);
  if (family === 0 || family !== isIP(address) || length > all) return false;
  const type = family === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addSubnet(network, length, type);
  return list.check(address, type);
}

function isInDomain(name: string, entry: string): boolean {
  const domain = withoutDot(entry.replace(/^\./, '').toLowerCase());
  return domain !== '' && (name === domain || name.endsWith(`.${domain}`));
}

function withoutDot(name: string): string {
  return name.replace(/\.$/, '');
}
