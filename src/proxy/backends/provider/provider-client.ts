import type { Machine } from '../../../host/machine.ts';
import { HttpPool } from '../../../host/net/http-pool.ts';
import type { Route } from '../../../host/net/open-channel.ts';
import { limits } from '../../../limits.ts';
import { exchange, type Request, type Response } from '../../../wire/exchange.ts';
import { BackendUnavailableError } from '../backend.ts';

/** One call of a provider's API. */
export interface ProviderCall extends Pick<Request, 'method' | 'path' | 'headers'> {
  /** It is read anew when an idle connection proves to be closed. */
  body?: Iterable<Buffer>;
  /** Of the body, in bytes. */
  length?: number;
  /** How long the answer may take; undefined: limits.providerAnswerMs. */
  answerMs?: number | undefined;
}

/**
 * Calls the API of one provider over HTTP(S): no redirect is followed, and no call is made twice. Each call opens a
 * connection, or uses one that was idle for a few seconds at most.
 */
export class ProviderClient {
  readonly #pool: HttpPool;
  /** What the provider is called in errors. */
  readonly #called: string;

  constructor(called: string, route: Route, machine: Machine) {
    this.#called = called;
    this.#pool = new HttpPool(route, machine, {
      connections: limits.providerCalls,
      idleMs: limits.providerIdleMs,
      answerBytes: limits.providerAnswerBytes,
    });
  }

  /**
   * The answer, whatever its status. Rejects with BackendUnavailableError when the provider cannot have got the whole
   * request, and so has done nothing, and with another error when it may have.
   */
  async call(call: ProviderCall): Promise<Response> {
    const { method, path, headers, body = [], length = 0 } = call;
    const upload = new Upload(body, length);
    const answer = await exchange(
      { pool: this.#pool },
      {
        method,
        ...(path !== undefined && { path }),
        headers: { ...headers, ...(method !== 'GET' && { 'content-length': String(length) }) },
        body: upload,
        length,
        onlyOnce: method !== 'GET',
        withinMs: (call.answerMs ?? limits.providerAnswerMs) + uploadMs(length),
      },
      never,
    );
    if (answer.kind === 'response') return answer;
    const text = `${this.#called}: ${answer.kind === 'aborted' ? 'the connection was closed' : answer.text}`;
    const isConnecting = answer.kind === 'network' && answer.stage === 'connecting';
    throw upload.isWhole && !isConnecting ? new Error(text) : new BackendUnavailableError(text);
  }

  /** Closes idle connections, and ends what is under way. */
  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** A body, and whether its end may have been sent. Without its end, a request has no effect (RFC 9112 8). */
class Upload {
  /** Whether the last piece was given away. */
  isWhole = false;
  readonly #body: Iterable<Buffer>;
  readonly #length: number;

  constructor(body: Iterable<Buffer>, length: number) {
    this.#body = body;
    this.#length = length;
  }

  *[Symbol.iterator](): Generator<Buffer> {
    let given = 0;
    this.isWhole = this.#length === 0;
    for (const piece of this.#body) {
      given += piece.length;
      this.isWhole = given >= this.#length;
      yield piece;
    }
  }
}

function uploadMs(bytes: number): number {
  return Math.ceil((bytes / limits.postBytesPerSecond) * 1000);
}

const never = new AbortController().signal;
