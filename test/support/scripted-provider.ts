import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { certificate } from './certificate.ts';
import { scratch } from './scratch.ts';

/** A request as it came. */
export interface ProviderRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/**
 * An answer of HTTP, or none: `cut` closes the connection after the whole request, `hang` says nothing. What is no text and
 * no Buffer is sent as JSON.
 */
export type ProviderReply =
  { status?: number; headers?: Record<string, string>; body?: unknown } | 'cut' | 'hang';

/** The API of a provider over HTTPS on loopback, which answers as its script says; that may change at any time. */
export class ScriptedProvider {
  script: (request: ProviderRequest) => ProviderReply | Promise<ProviderReply> = () => 'cut';
  /** Asked when the head of a request has come: true closes the connection before its body is read. */
  cutsBeforeBody: (head: Pick<ProviderRequest, 'method' | 'path'>) => boolean = () => false;
  readonly requests: ProviderRequest[] = [];
  readonly port: number;
  /** The certificate that signs its own, as a file and as PEM. */
  readonly caFile: string;
  readonly ca: string[];
  /** How many connections were open at once at most, and how many there were. */
  connections = { most: 0, all: 0 };
  /** Closes connections that wait for a request. */
  readonly closeIdle: () => void;
  readonly #close: () => void;

  private constructor(
    port: number,
    ca: { file: string; cert: Buffer },
    { close, closeIdle }: { close: () => void; closeIdle: () => void },
  ) {
    this.port = port;
    this.closeIdle = closeIdle;
    this.caFile = ca.file;
    this.ca = [ca.cert.toString()];
    this.#close = close;
  }

  static async start(t: TestContext): Promise<ScriptedProvider> {
    const made = await certificate(t, scratch(t));
    const sockets = new Set<Socket>();
    const server = createServer({ key: made.key, cert: made.cert }, (request, response) => {
      void scripted.#answer(request, response);
    });
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => sockets.delete(socket));
      scripted.connections.all += 1;
      scripted.connections.most = Math.max(scripted.connections.most, sockets.size);
    });
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const scripted = new ScriptedProvider((server.address() as AddressInfo).port, made, {
      close: () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
      closeIdle: () => server.closeIdleConnections(),
    });
    t.after(() => scripted.close());
    return scripted;
  }

  get url(): URL {
    return new URL(`https://127.0.0.1:${this.port}/`);
  }

  /** What makes a process trust it. */
  get environment(): Record<string, string> {
    return { NODE_EXTRA_CA_CERTS: this.caFile };
  }

  /** From now on nobody listens. */
  close(): void {
    this.#close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = request;
    if (this.cutsBeforeBody({ method, path })) return void request.socket.destroy();
    const pieces: Buffer[] = [];
    request.on('error', () => {});
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
    const received = { method, path, headers, body: Buffer.concat(pieces) };
    this.requests.push(received);
    const reply = await this.script(received);
    if (reply === 'cut') request.socket.destroy();
    else if (reply !== 'hang') {
      const { status = 200, headers: given = {}, body = '' } = reply;
      const isBytes = typeof body === 'string' || Buffer.isBuffer(body);
      response.writeHead(status, given).end(isBytes ? body : JSON.stringify(body));
    }
  }
}
