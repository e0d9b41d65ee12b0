import { newId } from '../host/new-id.ts';
import { limits } from '../limits.ts';
import {
  firstProbe,
  mayBeSent,
  ofRepeated,
  requestOf,
  resultOf,
  signedResult,
  type PostRequest,
  type PostResult,
} from './attempt.ts';
import {
  bundleType,
  decodeAnswers,
  encodeBundle,
  PartReader,
  type AnswerPart,
  type BundledAnswer,
  type BundledPost,
} from './bundle.ts';
import type { Connection } from './connection.ts';
import { exchange, type Request } from './exchange.ts';
import { encodeFrame } from './frame.ts';
import { signatureHeaders, verify } from './sign.ts';

/** What came of a post in a bundle: without a result it is to be posted alone, and `maybeSent` tells whether it may be sent. */
export interface Bundled {
  result?: PostResult;
  maybeSent?: boolean;
}

/** A post that waits for its answer. */
interface Open {
  post: PostRequest;
  settle: (bundled: Bundled) => void;
}

/** A post that waits for its bundle. */
interface Waiting extends BundledPost, Open {}

/**
 * Puts small messages that are posted in the same moment into one request. A message that gets no answer in it, whatever
 * the reason, is to be posted alone: only there it is decided what is at fault (law 5). After a bundle that failed there is
 * none for a while.
 */
export class Bundler {
  readonly #connection: Connection;
  #waiting: Waiting[] = [];
  /** Bundles in a row that failed, and until when there is none: monotonic. */
  #failures = 0;
  #pausedUntil = -Infinity;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Posts a message with others, where that is possible. Never rejects. `stop` ends the waiting. */
  async post(post: PostRequest, stop: AbortSignal): Promise<Bundled> {
    const body = this.#isOpen && isSmall(post) ? bodyOf(post) : undefined;
    if (!body) return {};
    return new Promise((settle) => {
      this.#waiting.push({ id: post.id, body, post, settle });
      if (this.#waiting.length === 1) setImmediate(() => this.#sendAll(stop));
    });
  }

  get #isOpen(): boolean {
    const { takesBundles, machine } = this.#connection;
    return takesBundles && machine.now() >= this.#pausedUntil;
  }

  #sendAll(stop: AbortSignal): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const bundle of inBundles(waiting)) {
      // One message alone is no bundle.
      if (bundle.length === 1) for (const { settle } of bundle) settle({});
      else void this.#send(encodeBundle(bundle), openOf(bundle), stop);
    }
  }

  async #send(bytes: Buffer, open: Map<string, Open>, stop: AbortSignal): Promise<void> {
    const connection = this.#connection;
    const id = newId(connection.machine);
    const body = [bytes];
    const request = requestOf(connection, bundleType, { id, body, length: bytes.length });
    const answers = new SignedAnswers(connection.key, id, request);
    let refusal: string | undefined;
    const watch = (piece: Buffer, repeated: boolean) => {
      body.length = 0; // Once there is an answer, the request is not repeated.
      for (const answer of answers.add(piece)) {
        const asked = open.get(answer.id);
        if (!asked) continue;
        open.delete(answer.id);
        if (answer.status === 503) refusal ??= `HTTP 503 ${textOf(answer.body)}`.trim();
        const result = resultOfAnswer(connection, asked.post, answer);
        asked.settle({ result: ofRepeated(result, repeated) });
      }
    };
    const first = firstProbe(connection);
    const response = await exchange(connection, { ...request, watch }, stop, first);
    this.#note(open.size === 0);
    if (refusal !== undefined && response.kind === 'response')
      connection.pool.leave(response.opening, refusal);
    for (const { settle } of open.values()) settle({ maybeSent: maybeSentBy(response) });

    function maybeSentBy(failure: typeof response): boolean {
      if (failure.kind !== 'response') return mayBeSent(failure);
      if (failure.status === 200) return true;
      const about = { id, envelope: { sender: '', recipients: [] } };
      const result = resultOf(connection, about, request, failure);
      return result.kind !== 'verdicts' && mayBeSent(result);
    }
  }

  #note(passed: boolean): void {
    if (passed) return void (this.#failures = 0);
    const { machine } = this.#connection;
    // Those that were in flight when one failed are no further ones in a row.
    if (machine.now() < this.#pausedUntil) return;
    const waitMs = Math.min(limits.bundleRetryMs * 2 ** this.#failures, limits.bundleRetryMaxMs);
    this.#failures = Math.min(this.#failures + 1, 30);
    this.#pausedUntil = machine.now() + waitMs;
  }
}

/** The answers to a bundle, as they arrive, of which each part has to be signed with our key. */
class SignedAnswers {
  readonly #key: Buffer;
  readonly #id: string;
  readonly #ours: string | undefined;
  #reader: PartReader | undefined = new PartReader();

  constructor(key: Buffer, id: string, { headers }: Request) {
    this.#key = key;
    this.#id = id;
    this.#ours = headers?.[signatureHeaders.signature];
  }

  /** Those that are complete with this piece. What follows something malformed says nothing. */
  add(piece: Buffer): BundledAnswer[] {
    const parts = this.#reader?.add(piece);
    if (!parts) this.#reader = undefined;
    return (parts ?? []).flatMap(
      (part) => (this.#isSigned(part) && decodeAnswers(part.body)) || [],
    );
  }

  /** Our own request, sent back, is signed as well. */
  #isSigned({ timestamp, signature, body }: AnswerPart): boolean {
    const signed = { id: this.#id, timestamp, body: [body] };
    return signature !== this.#ours && !!verify([this.#key], signature, signed);
  }
}

function resultOfAnswer(
  connection: Connection,
  post: PostRequest,
  { status, body, retryAfter }: BundledAnswer,
): PostResult {
  const text = textOf(body);
  const retryAfterMs = retryAfter === 0 ? undefined : retryAfter * 1000;
  return signedResult(connection, post, { status, body, text, retryAfterMs });
}

function textOf(body: Buffer): string {
  return body.toString('utf8').trim().slice(0, limits.reasonChars);
}

/** Whether it may go with others: a new message with bytes that are few. */
function isSmall({ size, fresh, ask, envelope }: PostRequest): boolean {
  return !fresh && !ask && envelope.recipients.length > 0 && size <= limits.smallBodyBytes;
}

/** The body of the post alone; undefined where it is too large, or its bytes cannot be read: that is found out anew. */
function bodyOf({ envelope, bytes, ...options }: PostRequest): Buffer | undefined {
  try {
    const body = Buffer.concat([encodeFrame(envelope, options), ...bytes]);
    return body.length <= limits.bundleBytes / 2 ? body : undefined;
  } catch {
    return undefined;
  }
}

function openOf(bundle: readonly Waiting[]): Map<string, Open> {
  return new Map(bundle.map(({ id, post, settle }) => [id, { post, settle }]));
}

function inBundles(waiting: readonly Waiting[]): Waiting[][] {
  const bundles: Waiting[][] = [];
  let bytes = Infinity;
  for (const each of waiting) {
    bytes += each.body.length + LINE_MOST;
    const last = bundles.at(-1);
    if (last && last.length < limits.bundlePosts && bytes <= limits.bundleBytes) last.push(each);
    else {
      bundles.push([each]);
      bytes = each.body.length + LINE_MOST;
    }
  }
  return bundles;
}

/** More than the line before a post has. */
const LINE_MOST = 80;
