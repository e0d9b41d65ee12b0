import { Readable } from 'node:stream';
import type { Client } from 'undici';
import { IdleClosedError, type HttpPool } from '../host/http-pool.ts';
import { WebProxyError } from '../host/web-proxy.ts';
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

/** The answer of an HTTP server, whole. */
export interface Response {
  kind: 'response';
  status: number;
  headers: ResponseHeaders;
  body: Buffer;
}

export type ResponseHeaders = Record<string, string | string[] | undefined>;

/** Why there is no answer. */
export type NoResponse =
  /**
   * No complete answer; `code` is that of Node, OpenSSL or undici. `stage` is what went wrong: connecting to
   * the server, or to the web proxy before it, or the request and its answer. `repeated`: two connections
   * broke, the second of them new.
   */
  | {
      kind: 'network';
      stage: 'connecting' | 'web proxy' | 'request';
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
 * unless it may be made only once.
 */
export async function exchange(
  { pool }: { pool: HttpPool },
  request: Request,
  stop: AbortSignal,
): Promise<Response | NoResponse> {
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
        stage = 'request';
        let answer: Response | 'begun' | undefined;
        try {
          const sent = { ...request, body, url: pool.route.url };
          const {
            statusCode: status,
            headers,
            body: bytes,
          } = await send(line.client, sent, signal);
          answer = 'begun';
          answer = {
            kind: 'response',
            status,
            headers,
            body: Buffer.from(await bytes.arrayBuffer()),
          };
          return answer;
        } catch (error) {
          const isStale = error instanceof IdleClosedError || (line.reused && !request.onlyOnce);
          if (!isStale || answer || unreadable || signal.aborted) throw error;
          repeated = !(error instanceof IdleClosedError);
        } finally {
          pool.giveBack(line, typeof answer === 'object');
        }
      }
    });
  } catch (error) {
    if (unreadable) return { kind: 'unreadable', text: unreadable.message };
    if (stage === 'connecting') stops.push(pool.openNoMore);
    if (stops.some(({ aborted }) => aborted)) return { kind: 'aborted' };
    const network = { kind: 'network', ...cause(error), repeated } as const;
    return { ...network, stage: error instanceof WebProxyError ? 'web proxy' : stage };
  }
}

async function send(
  client: Client,
  { url, method, headers, body }: Request & { url: URL },
  signal: AbortSignal,
) {
  return client.request({
    path: url.pathname + url.search,
    method,
    signal,
    headers: { 'user-agent': 'appengine-mailer', ...headers },
    ...(method === 'POST' && { body: Readable.from(body ?? []) }),
  });
}

/** The innermost error says what happened; undici and TLS wrap it. */
function cause(error: unknown): { code: string; text: string } {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  // OpenSSL's message is for its developers, its reason for people.
  const { code, name, reason, message } = inner as NodeJS.ErrnoException & { reason?: string };
  return { code: code ?? name, text: reason || message || name };
}
