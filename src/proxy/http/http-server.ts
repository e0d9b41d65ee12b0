import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { sleep, systemClock, type Clock } from '../../host/clock.ts';
import type { ProxyJournal } from '../proxy-journal.ts';
import { limits } from '../../limits.ts';
import { bundleType } from '../../wire/bundle.ts';
import { v2Type } from '../../wire/frame.ts';
import { answerBundle } from './answer-bundle.ts';
import { answerV1 } from './answer-v1.ts';
import { answerV2, WRONG_SIGNATURE } from './answer-v2.ts';
import { clientAddress } from './client-address.ts';
import { listen, type Listener, type ListenAt } from '../../host/net/listen.ts';
import { ALLOWED, onClientError } from './on-client-error.ts';
import type { Service } from './post.ts';
import { retryLater, type Reply } from './reply.ts';
import { BodyRefusedError, dropBody, limitTime, RequestBodies } from './request-bodies.ts';
import { checkSignature } from './signature-check.ts';
import { UnauthenticatedLines } from './unauthenticated-lines.ts';

/** Has servers listen at places, as `listen` does. */
type Listen = (makeServer: () => Server, listenAt: ListenAt) => Promise<Listener<Server>[]>;

/** The HTTP server of the proxy (src/wire/README.md). */
export class HttpServer {
  readonly #journal: ProxyJournal;
  readonly #clock: Clock;
  readonly #listenOn: Listen;
  readonly #bodies = new RequestBodies();
  readonly #unauthenticated: UnauthenticatedLines;
  /** The responses of each connection that are not sent yet, the oldest first. */
  readonly #unanswered = new WeakMap<Duplex, Set<ServerResponse>>();
  /** Responses that are written to clients that are still sending their requests. */
  readonly #unread = new Set<ServerResponse>();
  /** Undefined while it cannot be opened. */
  #service: Service | undefined;
  /** Resolves when the service is open, or cannot be opened yet or at all; until then requests wait. */
  readonly #ready: Promise<void>;
  #makeReady: () => void = () => {};
  /** Why there is no service. */
  #reason = 'the proxy cannot start';
  #listeners: readonly Listener<Server>[] = [];
  #stopping = false;

  constructor(
    journal: ProxyJournal,
    { clock = systemClock, listenOn = listen }: { clock?: Clock; listenOn?: Listen } = {},
  ) {
    this.#listenOn = listenOn;
    this.#journal = journal;
    this.#clock = clock;
    this.#unauthenticated = new UnauthenticatedLines(clock, (count) => journal.strangers(count));
    this.#ready = new Promise((resolve) => {
      this.#makeReady = resolve;
    });
  }

  /** The addresses on which it listens, each HOST:PORT or unix:PATH. */
  get addresses(): string[] {
    return this.#listeners.map(({ address }) => address);
  }

  /**
   * Listens at all places, and then opens the service; requests that come meanwhile wait for it, or are answered 503 with
   * the reason that `delay` gives. So a proxy that cannot listen (CommandError 78) has made no files. Rejects, and listens
   * nowhere, where the service cannot be opened.
   */
  async start<S extends Service>(
    listenAt: ListenAt,
    open: (delay: (reason: string) => void) => Promise<S>,
  ): Promise<S> {
    try {
      this.#listeners = await this.#listen(listenAt);
      const service = await open((reason) => {
        this.#reason = reason;
        this.#makeReady();
      });
      this.#service = service;
      this.#makeReady();
      return service;
    } catch (error) {
      this.#makeReady();
      for (const { server } of this.#listeners) server.close();
      throw error;
    }
  }

  /** The service, which may still be opened; undefined when it cannot be, or not yet. */
  async #opened(): Promise<Service | undefined> {
    await this.#ready;
    return this.#service;
  }

  /** Takes no more requests, and waits for those that it has and for the backend, for limits.stopMs at most. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const finished = new AbortController();
    const timeUp = sleep(this.#clock, limits.stopMs, { signal: finished.signal });
    const service = await this.#opened();
    service?.deliverer.stop();
    for (const response of this.#unread) response.end();
    const servers = this.#listeners.map(({ server }) => server);
    const finish = async () => {
      await Promise.all(servers.map(close));
      // A client that went away may have left its message with the backend.
      await service?.deliverer.settled();
    };
    await Promise.race([finish(), timeUp]);
    finished.abort();
    await service?.deliverer.flush();
    this.#unauthenticated.end();
    for (const server of servers) server.closeAllConnections();
  }

  async #listen(listenAt: ListenAt): Promise<Listener<Server>[]> {
    const listeners = await this.#listenOn(() => this.#makeServer(), listenAt);
    for (const { server } of listeners) {
      server.on('error', ({ message }) => this.#journal.trouble(`the server fails: ${message}`));
    }
    return listeners;
  }

  #makeServer(): Server {
    const server = createServer({
      requestTimeout: 0, // limitTime
      headersTimeout: limits.headersMs,
      keepAliveTimeout: limits.proxyIdleMs,
      connectionsCheckingInterval: limits.connectionsCheckMs,
    });
    const onRequest = (request: IncomingMessage, response: ServerResponse) =>
      this.#onRequest(request, response);
    server.on('request', onRequest);
    server.on('checkExpectation', onRequest); // RFC 9110 10.1.1: an expectation may be ignored.
    // Node remembers the address of the client: it cannot be asked for after the connection was reset.
    server.on('connection', ({ remoteAddress }) => void remoteAddress);
    server.maxConnections = limits.connections;
    server.on('clientError', (error, socket) =>
      onClientError(error, socket, [...(this.#unanswered.get(socket) ?? [])]),
    );
    return server;
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request; // The request loses it when the body takes too long.
    const waiting = this.#unanswered.get(socket) ?? new Set();
    // Thousands of requests that wait on one connection would cost memory and hold up others.
    if (waiting.size === limits.requestsAtOnce) return void socket.destroy();
    if (!socket.writable) return;
    this.#unanswered.set(socket, waiting.add(response));
    response.once('close', () => waiting.delete(response));
    limitTime(request, this.#clock);
    this.#answer(request, response).catch((error: Error) => {
      socket.destroy();
      this.#defect(error);
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const client = clientAddress(request);
    const reply = await this.#route(request, client).catch((error: Error) =>
      error === request.errored ? undefined : this.#defect(error),
    );
    if (!reply) return; // The client is gone.
    this.#logRefusal(request.headers['webhook-id'] as string | undefined, reply, client);
    (await this.#opened())?.deliverer.figures.count('requests', String(reply.status));
    await this.#send(request, response, reply);
  }

  #defect(error: Error): Reply {
    this.#journal.trouble(`a defect of the proxy: ${error.stack}`);
    return { status: 500, text: '' };
  }

  async #route(request: IncomingMessage, client: string): Promise<Reply> {
    const { pathname } = URL.parse(request.url ?? '/', 'http://proxy') ?? {};
    const service = await this.#opened();
    if (!service) return retryLater(this.#reason);
    if (pathname !== '/') return { status: 404, text: 'not found: the proxy is at /' };
    const { method } = request;
    if (method === 'GET' || method === 'HEAD') return { status: 200, text: '' };
    if (method !== 'POST') {
      const headers = { allow: ALLOWED };
      return { status: 405, text: 'method not allowed: use GET, HEAD or POST', headers };
    }
    if (this.#stopping) return retryLater('the proxy is stopping');
    return this.#answerPost(request, client, service);
  }

  async #answerPost(request: IncomingMessage, client: string, service: Service): Promise<Reply> {
    const arrivedAt = this.#clock.wallNow();
    const { headers } = request;
    const type = mediaType(request);
    const isV2 = type === v2Type || type === bundleType;
    const check = isV2 ? checkSignature(headers, service.keys) : undefined;
    if (isV2 && !check) return WRONG_SIGNATURE;
    const { withinRequest = async (_, answer) => answer() } = service;
    try {
      return await this.#bodies.with(request, check?.watch, async (body) => {
        const post = { headers, client, arrivedAt, body };
        return withinRequest(headers, async () => {
          if (!check) return answerV1(post, service);
          if (type === v2Type) return answerV2(post, check, service);
          return answerBundle(post, check, service, {
            answered: (id, reply) => this.#logRefusal(id, reply, client),
            failed: (error) => void this.#defect(error),
          });
        });
      });
    } catch (error) {
      if (!(error instanceof BodyRefusedError)) throw error;
      const { status, message } = error;
      return status === 503 ? retryLater(message) : { status, text: message };
    }
  }

  #logRefusal(id: string | undefined, { status, text, key, isTold }: Reply, client: string): void {
    if (status < 400 || status === 404 || isTold) return;
    if (key === undefined && !this.#unauthenticated.take()) return;
    this.#journal.refused({ from: client, id, status, reason: text, key });
  }

  /** Only a client that has shown a key may go on using the connection. */
  async #send(
    request: IncomingMessage,
    response: ServerResponse,
    { status, text, headers, key, parts }: Reply,
  ): Promise<void> {
    if (this.#stopping || key === undefined) response.setHeader('connection', 'close');
    if (parts) {
      response.writeHead(status, headers);
      for await (const part of parts) response.write(part);
      return void response.end();
    }
    const content = status === 204 ? undefined : Buffer.from(text);
    response.writeHead(status, { ...(content && contentHeaders(content)), ...headers });
    const written = request.method === 'HEAD' ? undefined : content;
    if (request.complete || this.#stopping) return void response.end(written);
    // Most clients read the answer only after they have sent all: for them a connection that is closed before is broken.
    if (written) response.write(written);
    else response.flushHeaders();
    this.#unread.add(response);
    // It rejects when the body is too long or the client is gone: in either case the response ends.
    await dropBody(request).catch(() => {});
    this.#unread.delete(response);
    response.end(() => request.destroy()); // Otherwise the bytes that it has read, and its time limit, would stay.
  }
}

function contentHeaders(content: Buffer) {
  return {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': content.length,
  };
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  return closed;
}

function mediaType(request: IncomingMessage): string | undefined {
  return request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
}
