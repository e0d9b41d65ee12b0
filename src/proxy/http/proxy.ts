import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import type { ProxyJournal } from '../proxy-journal.ts';
import { limits } from '../../limits.ts';
import { v2Type } from '../../wire/frame.ts';
import { ALLOWED, answerUnparsed } from './answer-unparsed.ts';
import { answerV1 } from './answer-v1.ts';
import { answerV2, WRONG_SIGNATURE } from './answer-v2.ts';
import { clientAddress } from './client-address.ts';
import { addressText, listen, type Places } from './listen.ts';
import { BodyRefusedError, dropBody, limitTime, RequestBodies } from './request-bodies.ts';
import { retryLater, type Reply } from './reply.ts';
import type { Service } from './service.ts';
import { checkSignature } from './signature-check.ts';
import { StrangerLines } from './stranger-lines.ts';

export interface ProxyOptions extends Places {
  journal: ProxyJournal;
}

/** A proxy at work. */
export interface Proxy<S extends Service = Service> {
  service: S;
  /** All that it listens on, each HOST:PORT or unix:PATH. */
  addresses: string[];
  /** Takes nothing more, finishes what it took, its backend too, for limits.stopMs at most. */
  stop(): Promise<void>;
}

/**
 * Starts the HTTP server (src/wire/README.md), at all places, and then opens the service; what comes meanwhile waits for
 * it. So a proxy that cannot listen (Failure 78) has made no files. Rejects, and listens nowhere, where the service
 * cannot be opened.
 */
export async function startProxy<S extends Service>(
  options: ProxyOptions,
  open: () => Promise<S>,
): Promise<Proxy<S>> {
  const { journal } = options;
  const bodies = new RequestBodies();
  const strangers = new StrangerLines((count) => journal.strangers(count));
  /** Of each connection, the oldest first. */
  const unanswered = new WeakMap<Duplex, Set<ServerResponse>>();
  /** Answers that are there, to clients that are still writing. */
  const unread = new Set<ServerResponse>();
  let stopping = false;

  function take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request; // It is gone from there when the body takes too long.
    const waiting = unanswered.get(socket) ?? new Set();
    // Thousands that come at once, to be looked at later, would cost memory and the time of others.
    if (waiting.size === limits.requestsAtOnce) return void socket.destroy();
    if (!socket.writable) return;
    unanswered.set(socket, waiting.add(response));
    response.once('close', () => waiting.delete(response));
    const from = clientAddress(request);
    limitTime(request);
    answer(request, from)
      .catch((error: Error) => (error === request.errored ? undefined : defect(error)))
      .then((reply) => reply && send(request, response, reply, from)) // None: the client is gone.
      .catch((error: Error) => {
        socket.destroy();
        defect(error);
      });
  }

  function makeServer() {
    const server = createServer({
      requestTimeout: 0, // limitTime
      headersTimeout: limits.headersMs,
      keepAliveTimeout: limits.proxyIdleMs,
      connectionsCheckingInterval: limits.connectionsCheckMs,
    });
    server.on('request', take);
    server.on('checkExpectation', take); // RFC 9110 10.1.1: it may be passed over.
    // Who it is from is asked while that is known: a connection may have been reset when a line is written.
    server.on('connection', ({ remoteAddress }) => void remoteAddress);
    server.maxConnections = limits.connections;
    server.on('clientError', (error, socket) =>
      answerUnparsed(error, socket, [...(unanswered.get(socket) ?? [])]),
    );
    return server;
  }

  function defect(error: Error): Reply {
    journal.trouble(`a defect of the proxy: ${error.stack}`);
    return { status: 500, text: '' };
  }

  async function answer(request: IncomingMessage, client: string): Promise<Reply> {
    const { pathname } = URL.parse(request.url ?? '/', 'http://proxy') ?? {};
    const service = await opened.catch(() => undefined);
    if (!service) return retryLater('the proxy cannot start');
    if (pathname !== '/') return { status: 404, text: 'not found: the proxy is at /' };
    if (request.method === 'GET' || request.method === 'HEAD') return { status: 200, text: '' };
    if (request.method !== 'POST') {
      return { status: 405, text: `understood are ${ALLOWED}`, headers: { allow: ALLOWED } };
    }
    if (stopping) return retryLater('the proxy is stopping');
    const arrivedAt = Date.now();
    const isV2 = mediaType(request) === v2Type;
    const check = isV2 ? checkSignature(request.headers, service.keys) : undefined;
    if (isV2 && !check) return WRONG_SIGNATURE;
    try {
      return await bodies.with(request, check?.watch, async (body) =>
        check
          ? answerV2(request.headers, check, { arrivedAt, client }, body, service)
          : answerV1(request.headers, client, body, service),
      );
    } catch (error) {
      if (!(error instanceof BodyRefusedError)) throw error;
      const { status, message } = error;
      return status === 503 ? retryLater(message) : { status, text: message };
    }
  }

  /** Only who shows a key may go on using the connection. */
  async function send(
    request: IncomingMessage,
    response: ServerResponse,
    { status, text, headers, key }: Reply,
    from: string,
  ): Promise<void> {
    const { method } = request;
    if (status >= 400 && status !== 404 && (key !== undefined || strangers.take())) {
      const id = request.headers['webhook-id'] as string | undefined;
      journal.refused({ from, id, status, reason: text, key });
    }
    if (stopping || key === undefined) response.setHeader('connection', 'close');
    const content = status === 204 ? undefined : Buffer.from(text);
    response.writeHead(status, {
      ...(content && {
        'content-type': 'text/plain; charset=utf-8',
        'content-length': content.length,
      }),
      ...headers,
    });
    const written = method === 'HEAD' ? undefined : content;
    if (request.complete || stopping) return void response.end(written);
    // Most clients read no answer before they have written all: to them a closed connection would be a network's fault.
    if (written) response.write(written);
    else response.flushHeaders();
    unread.add(response);
    await dropBody(request).catch(() => {}); // It goes on for too long, or the client is gone: the end is the same.
    unread.delete(response);
    response.end(() => request.destroy()); // What it has read, and its time limit, would stay.
  }

  const listening = listen(makeServer, options).catch((error: Error) => {
    const { wanted } = options;
    const where = wanted ? addressText(wanted) : 'the sockets of systemd';
    throw new CommandError(exitCodes.configuration, `cannot listen on ${where}: ${error.message}`);
  });
  const opened = listening.then(async (listeners) =>
    open().catch((error: Error) => {
      for (const { server } of listeners) server.close();
      throw error;
    }),
  );
  const service = await opened;
  const { deliverer } = service;
  const listeners = await listening;
  const servers = listeners.map(({ server }) => server);
  for (const server of servers) {
    server.on('error', (error) => journal.trouble(`the server fails: ${error.message}`));
  }
  return {
    service,
    addresses: listeners.map(({ address }) => address),
    async stop() {
      stopping = true;
      deliverer.stop();
      for (const response of unread) response.end();
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
