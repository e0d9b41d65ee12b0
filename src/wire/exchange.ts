import { Readable } from 'node:stream';
import { request } from 'undici';
import type { Connection } from './connection.ts';
import { postTimeMs } from './post-time.ts';

/** An HTTP request to the URL of a connection. */
export interface Request {
  method: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: Iterable<Buffer>;
  /** Of the body, in bytes. */
  length: number;
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
  /** No complete answer; `code` is that of Node, OpenSSL or undici. */
  | { kind: 'network'; code: string; text: string }
  /** What is to be sent could not be read, or made of the message. */
  | { kind: 'unreadable'; text: string }
  /** The caller gave up waiting. */
  | { kind: 'aborted' };

/**
 * One HTTP request and its answer, of whatever version of the interface. Never throws, never retries,
 * never follows a redirect. Takes at most postTimeMs of what it sends.
 */
export async function exchange(
  { url, dispatcher }: Connection,
  { method, headers = {}, body = [], length }: Request,
  stop: AbortSignal,
): Promise<Response | NoResponse> {
  let unreadable: Error | undefined;
  const readable = {
    *[Symbol.iterator]() {
      const pieces = body[Symbol.iterator]();
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
  const timeLimit = AbortSignal.timeout(postTimeMs(length));
  try {
    const response = await request(url, {
      method,
      dispatcher,
      signal: AbortSignal.any([stop, timeLimit]),
      headers: { 'user-agent': 'appengine-mailer', ...headers },
      ...(method === 'POST' && { body: Readable.from(readable) }),
    });
    const { statusCode: status } = response;
    const answer = Buffer.from(await response.body.arrayBuffer());
    return { kind: 'response', status, headers: response.headers, body: answer };
  } catch (error) {
    if (unreadable) return { kind: 'unreadable', text: unreadable.message };
    if (stop.aborted) return { kind: 'aborted' };
    if (timeLimit.aborted) return { kind: 'network', code: 'TIMEOUT', text: 'no answer in time' };
    return { kind: 'network', ...cause(error) };
  }
}

/** The innermost error says what happened; undici and TLS wrap it. */
function cause(error: unknown): { code: string; text: string } {
  let inner = error;
  if (inner instanceof AggregateError) inner = inner.errors[0];
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  // OpenSSL's message is for its developers, its reason for people.
  const { code, name, reason, message } = inner as NodeJS.ErrnoException & { reason?: string };
  return { code: code ?? name, text: reason || message || name };
}
