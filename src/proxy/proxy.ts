import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ProxyJournal } from './proxy-journal.ts';
import { limits } from '../mail/limits.ts';
import { v2Type } from '../wire/frame.ts';
import { ALLOWED, answerUnparsed } from './answer-unparsed.ts';
import { answerV1 } from './answer-v1.ts';
import { answerV2, WRONG_SIGNATURE } from './answer-v2.ts';
import { clientAddress } from './client-address.ts';
import { listen, type Places } from './listen.ts';
import { BodyRefused, limitTime, RequestBodies } from './request-bodies.ts';
import { retryLater, type Reply } from './reply.ts';
import type { Service } from './service.ts';
import { checkSignature } from './signature-check.ts';
import { StrangerLines } from './stranger-lines.ts';

export interface ProxyOptions extends Service, Places {
  journal: ProxyJournal;
}

/** A proxy at work. */
export interface Proxy {
  /** All that it listens on, each HOST:PORT or unix:PATH. */
  addresses: string[];
  /** Takes nothing more, finishes what it took, its backend too, for limits.stopMs at most. */
  stop(): Promise<void>;
}

/** Starts the HTTP server (src/wire/README.md), at all places. Rejects when it cannot listen. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const { deliverer, journal } = options;
  const bodies = new RequestBodies();
  const strangers = new StrangerLines((count) => journal.strangersLeftOut(count));
  const latest = new WeakMap<Duplex, ServerResponse>();
  let stopping = false;

  function makeServer() {
    const server = createServer(
      {
        requestTimeout: 0, // limitTime
        headersTimeout: limits.headersMs,
        keepAliveTimeout: limits.proxyIdleMs,
        connectionsCheckingInterval: limits.connectionsCheckMs,
      },
      (request, response) => {
        const { socket } = request; // It is gone from there when the body is refused.
        const from = clientAddress(request);
        latest.set(socket, response);
        limitTime(request);
        answer(request, from)
          .catch((error: Error) => (error === request.errored ? undefined : defect(error)))
          .then((reply) => reply && send(request, response, reply, from)) // None: the client is gone.
          .catch((error: Error) => {
            socket.destroy();
            defect(error);
          });
      },
    );
    // Who it is from is asked while that is known: a connection may have been reset when a line is written.
    server.on('connection', ({ remoteAddress }) => void remoteAddress);
    server.maxConnections = limits.connections;
    server.on('clientError', (error, socket) => answerUnparsed(error, socket, latest.get(socket)));
    return server;
  }

  function defect(error: Error): Reply {
    journal.proxyTrouble(`a defect of the proxy: ${error.stack}`);
    return { status: 500, text: '' };
  }

  async function answer(request: IncomingMessage, client: string): Promise<Reply> {
    const { pathname } = URL.parse(request.url ?? '/', 'http://proxy') ?? {};
    if (pathname !== '/') return { status: 404, text: 'not found: the proxy is at /' };
    if (request.method === 'GET' || request.method === 'HEAD') return { status: 200, text: '' };
    if (request.method !== 'POST') {
      return { status: 405, text: `understood are ${ALLOWED}`, headers: { allow: ALLOWED } };
    }
    if (stopping) return retryLater('the proxy is stopping');
    const arrivedAt = Date.now();
    const isV2 = mediaType(request) === v2Type;
    const check = isV2 ? checkSignature(request.headers, options.keys) : undefined;
    if (isV2 && !check) return WRONG_SIGNATURE; // Node reads the body and drops it.
    try {
      return await bodies.with(request, check?.watch, async (body) =>
        check
          ? answerV2(request.headers, check, { arrivedAt, client }, body, options)
          : answerV1(request.headers, client, body, options),
      );
    } catch (error) {
      if (!(error instanceof BodyRefused)) throw error;
      const { status, message } = error;
      return { ...(status === 503 ? retryLater(message) : { status, text: message }), close: true };
    }
  }

  function send(
    request: IncomingMessage,
    response: ServerResponse,
    reply: Reply,
    from: string,
  ): void {
    const { status, text, headers, close, key } = reply;
    if (status >= 400 && status !== 404 && (key !== undefined || strangers.take())) {
      journal.requestRefused(
        from,
        request.headers['webhook-id'] as string | undefined,
        status,
        text,
        key,
      );
    }
    if (stopping || close) response.setHeader('connection', 'close');
    if (status === 204) return void response.writeHead(status).end();
    const body = Buffer.from(text);
    response.writeHead(status, {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': body.length,
      ...headers,
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  const listeners = await listen(makeServer, options);
  const servers = listeners.map(({ server }) => server);
  for (const server of servers) {
    server.on('error', (error) => journal.proxyTrouble(`the server fails: ${error.message}`));
  }
  return {
    addresses: listeners.map(({ address }) => address),
    async stop() {
      stopping = true;
      deliverer.stop();
      const closed = Promise.all(
        servers.map(async (server) => {
          const isClosed = new Promise<void>((resolve) => server.close(() => resolve()));
          server.closeIdleConnections();
          return isClosed;
        }),
      );
      let timer: NodeJS.Timeout | undefined;
      const timeUp = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, limits.stopMs);
      });
      // A client that went away may have left its message with the backend.
      await Promise.race([closed.then(async () => deliverer.settled()), timeUp]);
      clearTimeout(timer);
      await deliverer.flush();
      strangers.end();
      for (const server of servers) server.closeAllConnections();
    },
  };
}

function mediaType(request: IncomingMessage): string | undefined {
  return request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
}
