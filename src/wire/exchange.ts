import { Readable } from 'node:stream';
import { CollectedBytes } from '../host/collected-bytes.ts';
import type { HttpLine, HttpPool } from '../host/net/http-pool.ts';
import type { Opening } from '../host/net/passed-over.ts';
import { IdleClosedError } from '../host/net/idle-closed-error.ts';
import { WebProxyError } from '../host/net/web-proxy.ts';
import { withinTime } from '../host/within-time.ts';
import { postTimeMs } from './post-time.ts';

/** An HTTP request to the server of a pool. */
export interface Request {
  method: 'GET' | 'POST' | 'PUT';
  /** Path and query; undefined: those of the pool's URL. */
  path?: string;
  headers?: Record<string, string>;
  body?: Iterable<Buffer>;
  /** Of the body, in bytes. */
  length: number;
  /** Not over a connection that was used before: those may be dead. */
  fresh?: boolean | undefined;
  /** The server may do it twice if it is sent twice. */
  onlyOnce?: boolean;
  /** Is given each piece of the answer as it arrives, if the status is 200, and whether the request is repeated. */
  watch?: (piece: Buffer, repeated: boolean) => void;
  /** How long it may take in all its stages; undefined: postTimeMs of what it sends. */
  withinMs?: number;
}

/**
 * A request that goes first over each connection, and that anybody may read: nothing else is sent before the
 * server has answered it as it should. `fault` returns what any other answer comes to.
 */
export interface FirstProbe<Fault> {
  request: () => Pick<Request, 'method' | 'headers' | 'body'>;
  fault: (response: Response) => Fault | undefined;
}

/** What is sent of a request over a connection. */
type Sent = Pick<Request, 'method' | 'path' | 'headers' | 'body' | 'watch'>;

/** The answer of an HTTP server, whole. */
export interface Response {
  kind: 'response';
  status: number;
  headers: ResponseHeaders;
  body: Buffer;
  /** That of its connection; see HttpPool.passOver. */
  opening: Opening;
}

export type ResponseHeaders = Record<string, string | string[] | undefined>;

/** The code of a connection that was closed after its first probe. */
export const CLOSED_AFTER_PROBE = 'CLOSED_AFTER_PROBE';

/** Why there is no answer. */
export type NoResponse =
  /**
   * No complete answer; `code` is that of Node, OpenSSL or undici, or CLOSED_AFTER_PROBE. `stage` is what
   * went wrong: connecting to the server, its greeting included, or the request and its answer. `webProxy` is
   * the variable that names the web proxy, where that is the trouble.
   */
  | {
      kind: 'network';
      stage: 'connecting' | 'request';
      webProxy?: string | undefined;
      code: string;
      text: string;
    }
  /** The body of the request could not be read, or not be made of the message. */
  | { kind: 'unreadable'; text: string }
  /** The caller gave up waiting. */
  | { kind: 'aborted' };

/** What is common to all that a request can come to. */
export interface Repeated {
  /** The request had been sent, in part at least, over another connection, which broke before the answer: it may have arrived. */
  repeated?: boolean;
}

/**
 * One HTTP request and its answer, of either version of the interface. Never throws, never follows a
 * redirect. Takes at most `withinMs`, in all its stages. A used connection that breaks
 * before the answer was most likely dead before: then the request is made once more, over a new one,
 * unless it may be made only once. With a `probe` the request is sent only over a connection over which
 * the server has answered that; where it answered wrongly, the fault is returned.
 */
export async function exchange<Fault extends object = never>(
  { pool }: { pool: HttpPool },
  request: Request,
  stop: AbortSignal,
  probe?: FirstProbe<Fault>,
): Promise<(Response | NoResponse | Fault) & Repeated> {
  const running = new Exchange(pool, request, probe);
  const result = await responseOf(running, pool, request, stop);
  return running.repeated ? { ...result, repeated: true } : result;
}

async function responseOf<Fault extends object>(
  running: Exchange<Fault>,
  pool: HttpPool,
  request: Request,
  stop: AbortSignal,
): Promise<Response | NoResponse | Fault> {
  const stops = [stop, pool.closing];
  try {
    return await withinTime(
      request.withinMs ?? postTimeMs(request.length),
      'no answer',
      { signals: stops, clock: pool.machine },
      async ({ signal }) => running.run(signal),
    );
  } catch (error) {
    const { unreadable, stage } = running;
    if (unreadable) return { kind: 'unreadable', text: unreadable.message };
    if (stage === 'connecting') stops.push(pool.openNoMore);
    if (stops.some(({ aborted }) => aborted)) return { kind: 'aborted' };
    const { code, text } = cause(error);
    if (running.opening) pool.passOver(running.opening, text);
    const webProxy = error instanceof WebProxyError ? error.variable : undefined;
    return { kind: 'network', stage, webProxy, code, text };
  }
}

/** An exchange that is under way, and how far it got. */
class Exchange<Fault extends object> {
  stage: 'connecting' | 'request' = 'connecting';
  /** See Repeated. */
  repeated = false;
  /** Of the connection over which it went last. */
  opening: Opening | undefined;
  /** Why the body of the request could not be read. */
  unreadable: Error | undefined;
  /** How much of the answer over the present connection has arrived. */
  #answer: 'nothing' | 'beginning' | 'whole' = 'nothing';
  readonly #pool: HttpPool;
  readonly #request: Request;
  readonly #probe: FirstProbe<Fault> | undefined;

  constructor(pool: HttpPool, request: Request, probe: FirstProbe<Fault> | undefined) {
    this.#pool = pool;
    this.#request = request;
    this.#probe = probe;
  }

  async run(signal: AbortSignal): Promise<Response | Fault> {
    for (let fresh = this.#request.fresh === true; ; fresh = true) {
      this.stage = 'connecting';
      this.opening = undefined;
      const line = await this.#pool.take(fresh, signal);
      this.opening = line.opening;
      try {
        return await this.#over(line, signal);
      } catch (error) {
        const wasIdle = error instanceof IdleClosedError;
        if (wasIdle && line.probed && !line.reused) throw new ClosedAfterProbeError();
        if (!this.#isStale(line, wasIdle) || signal.aborted) throw error;
        this.repeated ||= !wasIdle && this.#isSending();
      } finally {
        this.#pool.giveBack(line, this.#answer === 'whole');
      }
    }
  }

  async #over(line: HttpLine, signal: AbortSignal): Promise<Response | Fault> {
    this.#answer = 'nothing';
    if (this.#probe && !line.probed) {
      const fault = this.#probe.fault(await this.#send(line, this.#probe.request(), signal));
      if (fault) return fault;
      line.probed = true;
      this.#answer = 'nothing';
    }
    this.stage = 'request';
    const response = await this.#send(line, { ...this.#request, body: this.#body() }, signal);
    this.#answer = 'whole';
    return response;
  }

  /** Whether the request itself is on its way, and not only the first probe. */
  #isSending(): boolean {
    return this.stage === 'request';
  }

  /** Whether the connection was dead before the request was sent, so that it may be sent once more. */
  #isStale({ reused }: HttpLine, wasIdle: boolean): boolean {
    if (this.#answer !== 'nothing' || this.unreadable) return false;
    return wasIdle || (reused && !this.#request.onlyOnce);
  }

  async #send(
    { client, opening }: HttpLine,
    { method, path, headers: given, body, watch }: Sent,
    signal: AbortSignal,
  ): Promise<Response> {
    const { pathname, search } = this.#pool.url;
    const response = await client.request({
      path: path ?? pathname + search,
      method,
      signal,
      headers: { 'user-agent': 'appengine-mailer', ...given },
      ...(method === 'POST' && { body: Readable.from(body ?? []) }),
    });
    this.#answer = 'beginning';
    const { statusCode: status, headers } = response;
    const answer = new CollectedBytes();
    for await (const piece of response.body as AsyncIterable<Buffer>) {
      answer.add(piece);
      if (status === 200) watch?.(piece, this.repeated);
    }
    return { kind: 'response', status, headers, body: answer.whole(), opening };
  }

  *#body(): Generator<Buffer> {
    const pieces = (this.#request.body ?? [])[Symbol.iterator]();
    for (;;) {
      let next;
      try {
        next = pieces.next();
      } catch (error) {
        this.unreadable = error as Error;
        throw error;
      }
      if (next.done) return;
      yield next.value; // What breaks the request is thrown in here, and is no fault of the body.
    }
  }
}

/** The server closed a new connection after it had answered the first probe, before the request was sent. */
class ClosedAfterProbeError extends Error {
  override readonly name = 'ClosedAfterProbeError';
  readonly code = CLOSED_AFTER_PROBE;

  constructor() {
    super('the connection was closed after the answer to the probe');
  }
}

/** The innermost error says what happened; undici and TLS wrap it. */
function cause(error: unknown): { code: string; text: string } {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  // OpenSSL's message is for its developers, its reason for people.
  const { code, name, reason, message } = inner as NodeJS.ErrnoException & { reason?: string };
  return { code: code ?? name, text: reason || message || name };
}
