import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sleep, type Clock } from '../host/clock.ts';
import type { HostPort } from '../host/net/connect-socket.ts';
import { hostPortText } from '../host/net/host-port.ts';
import { untilAborted } from '../host/until-aborted.ts';
import { limits } from '../limits.ts';
import { metricFormatFor, metricsText, metricTypes, type Metric } from './metric.ts';

/** What a program serves about itself. */
export interface Watched {
  metrics: () => Metric[] | Promise<Metric[]>;
  /** A page for people, and its Content-Security-Policy. */
  page: () => Page | Promise<Page>;
}

export interface Page {
  text: string;
  policy: string;
}

/** What the journal is told of the server. */
export interface MetricsJournal {
  metricsServed: (address: string) => void;
  metricsUnavailable: (address: string, text: string) => void;
}

/**
 * Serves what a program says of itself until `stop` aborts: metrics at /metrics, and a page at /. An address that cannot be had is
 * tried again and again: mail goes on without metrics.
 */
export async function serveMetrics(
  at: HostPort,
  watched: Watched,
  { journal, clock }: { journal: MetricsJournal; clock: Clock },
  stop: AbortSignal,
): Promise<void> {
  const server = await listening(at, new MetricsServer(watched, clock), { journal, clock }, stop);
  if (!server) return;
  await untilAborted(stop);
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

/** A server that listens; undefined when it was stopped before. */
async function listening(
  at: HostPort,
  answers: MetricsServer,
  { journal, clock }: { journal: MetricsJournal; clock: Clock },
  stop: AbortSignal,
): Promise<Server | undefined> {
  for (let isTold = false; !stop.aborted; isTold = true) {
    const server = answers.makeServer();
    try {
      server.listen(at);
      await once(server, 'listening');
      const { address: host, port } = server.address() as AddressInfo;
      journal.metricsServed(hostPortText({ host, port }));
      return server;
    } catch (error) {
      if (!isTold) journal.metricsUnavailable(hostPortText(at), (error as Error).message);
      await sleep(clock, limits.lookMs, { signal: stop });
    }
  }
  return undefined;
}

/** An answer, ready to be sent. */
interface Answer {
  status: number;
  type: string;
  text: string;
  policy?: string;
}

class MetricsServer {
  readonly #metrics: () => Promise<Metric[]>;
  readonly #page: () => Promise<Page>;

  constructor({ metrics, page }: Watched, clock: Clock) {
    this.#metrics = atTimes(clock, metrics);
    this.#page = atTimes(clock, page);
  }

  makeServer(): Server {
    const server = createServer({
      requestTimeout: limits.headersMs,
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: limits.connectionsCheckMs,
    });
    server.maxConnections = limits.metricsConnections;
    server.on('request', (request, response) => void this.#respond(request, response));
    return server;
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, type, text, policy } = await this.#answer(request).catch(
      (error: Error): Answer => ({
        status: 503,
        type: PLAIN,
        text: `cannot be read now: ${error.message}\n`,
      }),
    );
    response.writeHead(status, {
      'content-type': type,
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': policy ?? "default-src 'none'",
      'referrer-policy': 'no-referrer',
    });
    response.end(request.method === 'HEAD' ? undefined : text);
  }

  async #answer({ method, url, headers }: IncomingMessage): Promise<Answer> {
    if (method !== 'GET' && method !== 'HEAD') {
      return { status: 405, type: PLAIN, text: 'method not allowed: use GET or HEAD\n' };
    }
    const path = url?.split('?')[0];
    if (path === '/') {
      const { text, policy } = await this.#page();
      return { status: 200, type: 'text/html; charset=utf-8', text, policy };
    }
    if (path !== '/metrics') {
      return { status: 404, type: PLAIN, text: 'not found: there are / and /metrics\n' };
    }
    const format = metricFormatFor(headers.accept);
    const text = metricsText(await this.#metrics(), format);
    return { status: 200, type: metricTypes[format], text };
  }
}

/** Reads a value; however often somebody asks, at most once in limits.viewEveryMs. */
function atTimes<T>(clock: Clock, read: () => T | Promise<T>): () => Promise<T> {
  let latest: { value: Promise<T>; at: number } | undefined;
  return async () => {
    const at = clock.now();
    if (!latest || at - latest.at >= limits.viewEveryMs) {
      latest = { value: Promise.resolve().then(read), at };
    }
    return latest.value;
  };
}

const PLAIN = 'text/plain; charset=utf-8';
