import { Readable } from 'node:stream';
import type { Client } from 'undici';
import { CollectedBytes } from '../host/collected-bytes.ts';
import { IdleClosedError, type HttpPool } from '../host/net/http-pool.ts';
import { WebProxyError } from '../host/net/web-proxy.ts';
import { withinTime } from '../host/within-time.ts';
import { postTimeMs } from './post-time.ts';

/** An HTTP request to the URL of a pool. */
export interface Request {
  method: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: Iterable<Buffer>;
  /** Of the body, in bytes. */
  length: number;
  /** Not over a connection that was used before: those may be dead. */
  fresh?: boolean | undefined;
  /** What is sent twice may be done twice. */
  onlyOnce?: boolean;
}

/**
 * What goes first over each connection, and has to be answered rightly before anything else does: a request
 * that may be heard by anybody. `fault` is what an answer other than the right one comes to.
 */
export interface Greeting<Fault> {
  request: () => Pick<Request, 'method' | 'headers' | 'body'>;
  fault: (response: Response) => Fault | undefined;
}

/** The answer of an HTTP server, whole. */
export interface Response {
  kind: 'response';
  status: number;
  headers: ResponseHeaders;
  body: Buffer;
}

export type ResponseHeaders = Record<string, string | string[] | undefined>;

/** The code of a connection that was closed after its greeting. */
export const CLOSED_AFTER_GREETING = 'CLOSED_AFTER_GREETING';

/** Why there is no answer. */
export type NoResponse =
  /**
   * No complete answer; `code` is that of Node, OpenSSL or undici, or CLOSED_AFTER_GREETING. `stage` is what
   * went wrong: connecting to the server, its greeting included, or the request and its answer. `webProxy` is
   * the variable that names the web proxy, where that is the trouble. `repeated`: two connections broke, the
   * second of them new.
   */
  | {
      kind: 'network';
      stage: 'connecting' | 'request';
      webProxy?: string | undefined;
      code: string;
      text: string;
      repeated?: boolean;
    }
  /** What is to be sent could not be read, or made of the message. */
  | { kind: 'unreadable'; text: string }
  /** The caller gave up waiting. */
  | { kind: 'aborted' };

/**
 * One HTTP request and its answer, of whatever version of the interface. Never throws, never follows a
 * redirect. Takes at most postTimeMs of what it sends, in all its stages. A used connection that breaks
 * before the answer was most likely dead before: then the request is made once more, over a new one,
 * unless it may be made only once. With a `greeting` the request is sent only over a connection over which
 * the server was greeted; where it was not rightly answered, its fault is returned.
 */
export async function exchange<Fault = never>(
  { pool }: { pool: HttpPool },
  request: Request,
  stop: AbortSignal,
  greeting?: Greeting<Fault>,
): Promise<Response | NoResponse | Fault> {
  const stops = [stop, pool.closing];
  let unreadable: Error | undefined;
  let stage: 'connecting' | 'request' = 'connecting';
  let repeated = false;
  const body = {
    *[Symbol.iterator]() {
      const pieces = (request.body ?? [])[Symbol.iterator]();
      for (;;) {
        let next;
        try {
          next = pieces.next();
        } catch (error) {
          unreadable = error as Error;
          throw error;
        }
        if (next.done) return;
        yield next.value; // What breaks the request is thrown in here, and is no fault of the body.
      }
    },
  };
  try {
    return await withinTime(postTimeMs(request.length), 'no answer', stops, async (signal) => {
      for (let fresh = request.fresh === true; ; fresh = true) {
        stage = 'connecting';
        const line = await pool.take(fresh, signal);
        let answer: Response | 'begun' | undefined;
        const begun = () => {
          answer = 'begun';
        };
        try {
          if (greeting && !line.greeted) {
            const greeted = await send(line.client, pool.url, greeting.request(), signal, begun);
            const fault = greeting.fault(greeted);
            if (fault) return fault;
            [line.greeted, answer] = [true, undefined];
          }
          stage = 'request';
          answer = await send(line.client, pool.url, { ...request, body }, signal, begun);
          return answer;
        } catch (error) {
          const wasIdle = error instanceof IdleClosedError;
          if (wasIdle && line.greeted && !line.reused) throw new ClosedAfterGreetingError();
          const isStale = wasIdle || (line.reused && !request.onlyOnce);
          if (!isStale || answer || unreadable || signal.aborted) throw error;
          repeated = !wasIdle;
        } finally {
          pool.giveBack(line, typeof answer === 'object');
        }
      }
    });
  } catch (error) {
    if (unreadable) return { kind: 'unreadable', text: unreadable.message };
    if (stage === 'connecting') stops.push(pool.openNoMore);
    if (stops.some(({ aborted }) => aborted)) return { kind: 'aborted' };
    const webProxy = error instanceof WebProxyError ? error.variable : undefined;
    return { kind: 'network', stage, webProxy, ...cause(error), repeated };
  }
}

/** One request over a connection; `begun` is called when its answer begins. */
async function send(
  client: Client,
  url: URL,
  { method, headers: given, body }: Pick<Request, 'method' | 'headers' | 'body'>,
  signal: AbortSignal,
  begun: () => void,
): Promise<Response> {
  const response = await client.request({
    path: url.pathname + url.search,
    method,
    signal,
    headers: { 'user-agent': 'appengine-mailer', ...given },
    ...(method === 'POST' && { body: Readable.from(body ?? []) }),
  });
  begun();
  const { statusCode: status, headers } = response;
  const answer = new CollectedBytes();
  for await (const piece of response.body as AsyncIterable<Buffer>) answer.add(piece);
  return { kind: 'response', status, headers, body: answer.whole() };
}

/** The server closed a new connection after it had answered the greeting, before the request was sent. */
class ClosedAfterGreetingError extends Error {
  override readonly name = 'ClosedAfterGreetingError';
  readonly code = CLOSED_AFTER_GREETING;

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
