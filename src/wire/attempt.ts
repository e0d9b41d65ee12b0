import type { Clock } from '../host/clock.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import { bundlesHeader } from './bundle.ts';
import type { Connection } from './connection.ts';
import {
  CLOSED_AFTER_PROBE,
  exchange,
  type FirstProbe,
  type NoResponse,
  type Repeated,
  type Request,
  type Response,
  type ResponseHeaders,
} from './exchange.ts';
import { encodeFrame, v2Type, type FrameOptions } from './frame.ts';
import { probe } from './probe.ts';
import { keyHint, sign, signatureHeaders, verify } from './sign.ts';
import { decodeExtras, decodeVerdicts, type Verdict } from './verdicts.ts';

/** A message to post: `id` is the same in every attempt. No recipients: a probe. */
export interface PostRequest extends FrameOptions {
  id: string;
  envelope: Envelope;
  /** The message in pieces, which are read once to sign them and once to send them. */
  bytes: Iterable<Buffer>;
  /** In bytes. */
  size: number;
  /** Not over a connection that was used before: those may be dead. */
  fresh?: boolean;
}

/** What one post came to, as facts; what they mean is decided by `diagnose` and by the caller. */
export type PostResult = PostVerdicts | PostFailure;

/**
 * A well-formed answer, signed with our key, about exactly this post; `note`: what the proxy tells people, to a probe;
 * `ledger`: the id of its ledger, where it has told it.
 */
interface PostVerdicts {
  kind: 'verdicts';
  verdicts: Verdict[];
  note?: string | undefined;
  ledger?: string | undefined;
}

/** An answer that is not verdicts. */
export type PostFailure = Repeated & NoVerdicts;

type NoVerdicts =
  /** The proxy, by its signature, has another ledger than the one that the post was for, and has begun nothing. */
  | { kind: 'other-ledger' }
  /** The proxy, by its signature, asks for fewer posts, and has begun nothing. */
  | { kind: 'slower'; text: string; retryAfterMs: number | undefined }
  /** The proxy, by its signature, finds our clock too far off; the connection knows its time now. */
  | { kind: 'clock' }
  /** A 200 that cannot be trusted, or not be understood. */
  | { kind: 'invalid-response'; signed: boolean; fault: string }
  /**
   * Any other HTTP status; `text` is the beginning of its body when that is plain text. `signed`: it is the proxy's own,
   * which sends nothing then. `wrongKey`: it is known to say that the signature is of no key of the server.
   */
  | {
      kind: 'http';
      status: number;
      text: string;
      retryAfterMs: number | undefined;
      signed?: true;
      wrongKey?: boolean;
    }
  /** The answer leaves open whether a recipient was sent; `remedy` is what the operator has to do. */
  | { kind: 'maybe-sent'; text: string; remedy: string }
  /** The first probe over the connection was not answered by the proxy: nothing of the post was sent. */
  | { kind: 'probe-failed'; failure: PostFailure }
  | NoResponse;

/**
 * Makes one signed attempt of HTTP v2 (src/wire/README.md), as `exchange` does. Without TLS anybody may have
 * taken the proxy's address: there a probe goes first over each connection, and its answer has to be signed.
 */
export async function attempt(
  connection: Connection,
  post: PostRequest,
  stop: AbortSignal,
): Promise<PostResult> {
  let request;
  try {
    request = signedRequest(connection, post);
  } catch (error) {
    return { kind: 'unreadable', text: (error as Error).message };
  }
  const first = firstProbe(connection);
  const response = await exchange(connection, { ...request, fresh: post.fresh }, stop, first);
  return response.kind === 'response' ? resultOf(connection, post, request, response) : response;
}

/** What goes first over each connection without TLS. */
export function firstProbe(connection: Connection): FirstProbe<PostFailure> | undefined {
  if (connection.url.protocol === 'https:') return undefined;
  let post: PostRequest;
  let request: Request;
  return {
    request() {
      post = probe(connection.machine); // A new one for each connection: an earlier answer must not do.
      request = signedRequest(connection, post);
      return request;
    },
    fault(response) {
      const result = resultOf(connection, post, request, response);
      if (result.kind === 'verdicts') return undefined;
      const isOfProxy = result.kind === 'clock' || result.kind === 'slower';
      return isOfProxy ? result : { kind: 'probe-failed', failure: result };
    },
  };
}

/** The request of a post, signed now. Throws what reading the message's bytes throws. */
function signedRequest(
  connection: Connection,
  { id, envelope, bytes, size, ...options }: PostRequest,
): Request {
  const frame = encodeFrame(envelope, options);
  const body = {
    *[Symbol.iterator]() {
      yield frame;
      yield* bytes;
    },
  };
  return requestOf(connection, v2Type, { id, body, length: frame.length + size });
}

/** A request of a media type, signed now. Throws what reading its body throws. */
export function requestOf(
  { key, clockOffsetMs, machine }: Connection,
  type: string,
  { id, body, length }: { id: string; body: Iterable<Buffer>; length: number },
): Request {
  const timestamp = String(Math.floor((machine.wallNow() + clockOffsetMs) / 1000));
  return {
    method: 'POST',
    headers: {
      'content-type': type,
      'content-length': String(length),
      [signatureHeaders.id]: id,
      [signatureHeaders.timestamp]: timestamp,
      [signatureHeaders.signature]: sign(key, { id, timestamp, body }),
      [signatureHeaders.keyHint]: keyHint(key),
    },
    body,
    length,
  };
}

/** What a response comes to that is about one post, or about a whole bundle; a 200 is about one. */
export function resultOf(
  connection: Connection,
  post: Pick<PostRequest, 'id' | 'envelope'>,
  request: Request,
  response: Response & Repeated,
): PostResult {
  return ofRepeated(responseResult(connection, post, request, response), response.repeated);
}

/** The result of a request that may have been `repeated`. Verdicts are whole without that: the ledger knows the earlier one. */
export function ofRepeated(result: PostResult, repeated = false): PostResult {
  return repeated && result.kind !== 'verdicts' ? { ...result, repeated } : result;
}

function responseResult(
  connection: Connection,
  post: Pick<PostRequest, 'id' | 'envelope'>,
  request: Request,
  { status, headers, body, opening }: Response,
): PostResult {
  const serverTime = signedTime(connection, post.id, request, { headers, body });
  const said = {
    text: plainText(headers, body),
    retryAfterMs: retryAfterMs(headers, connection.machine),
  };
  if (serverTime === undefined) {
    connection.pool.passOver(opening, `HTTP ${status}, not signed with our key`);
    if (status === 200) return { kind: 'invalid-response', signed: false, fault: UNSIGNED };
    return { kind: 'http', status, ...said };
  }
  if (status === 503) connection.pool.leave(opening, `HTTP 503 ${said.text}`.trim());
  if (status === 401) {
    connection.clockOffsetMs = serverTime - connection.machine.wallNow();
    return { kind: 'clock' };
  }
  if (status === 200) connection.takesBundles = headers[bundlesHeader] !== undefined;
  return signedResult(connection, post, { status, body, ...said });
}

/** What an answer comes to that is signed with our key. */
export function signedResult(
  connection: Connection,
  { id, envelope }: Pick<PostRequest, 'id' | 'envelope'>,
  { status, body, ...said }: SignedAnswer,
): PostResult {
  if (status === 200) return verdictsOf(connection, id, envelope.recipients, body);
  if (status === 412) return otherLedger(connection, body);
  if (status === 429) return { kind: 'slower', ...said };
  return { kind: 'http', status, ...said, signed: true };
}

interface SignedAnswer {
  status: number;
  body: Buffer;
  text: string;
  retryAfterMs: number | undefined;
}

function verdictsOf(
  connection: Connection,
  id: string,
  recipients: readonly string[],
  body: Buffer,
): PostResult {
  const verdicts = decodeVerdicts(body, id, recipients);
  if (!Array.isArray(verdicts)) return { kind: 'invalid-response', signed: true, ...verdicts };
  const { note, ledger } = decodeExtras(body);
  connection.ledger = ledger ?? null;
  const told = { kind: 'verdicts' as const, verdicts, ...(ledger !== undefined && { ledger }) };
  return recipients.length > 0 ? told : { ...told, note };
}

function otherLedger(connection: Connection, body: Buffer): PostResult {
  try {
    connection.ledger = decodeExtras(body).ledger ?? null;
  } catch {
    connection.ledger = null; // It is not JSON, and tells no id.
  }
  return { kind: 'other-ledger' };
}

/** Whether a proxy may have sent the message of a post that brought no verdicts, or may still do so. */
export function mayBeSent(failure: PostFailure): boolean {
  if (failure.repeated) return true;
  if (failure.kind === 'network') {
    return failure.stage === 'request' && failure.code !== CLOSED_AFTER_PROBE;
  }
  // A web server answers 5xx although the proxy behind it may have got the post.
  if (failure.kind === 'http') return failure.status >= 500 && !failure.signed;
  return AFTER_THE_POST.has(failure.kind);
}

const AFTER_THE_POST: ReadonlySet<PostFailure['kind']> = new Set<PostFailure['kind']>([
  'invalid-response',
  'maybe-sent',
  'aborted',
]);

/** Retry-After in milliseconds: seconds or a date (RFC 9110 10.2.3), which is by the clock of the server. */
export function retryAfterMs(
  { 'retry-after': header, date }: ResponseHeaders,
  clock: Pick<Clock, 'wallNow'>,
): number | undefined {
  if (typeof header !== 'string') return undefined;
  const serverNow = Date.parse(String(date)) || clock.wallNow();
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - serverNow;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/**
 * The time of the server's clock, in milliseconds, if the answer to `id` is signed with our key. A request of ours that is
 * sent back as it is does not count: nobody else has signed it.
 */
function signedTime(
  { key }: Connection,
  id: string,
  request: Request,
  { headers, body }: Pick<Response, 'headers' | 'body'>,
): number | undefined {
  const header = (name: string) => String(headers[name] ?? '');
  const timestamp = header(signatureHeaders.timestamp);
  if (header(signatureHeaders.id) !== id || !/^\d{1,12}$/.test(timestamp)) return undefined;
  const signatures = header(signatureHeaders.signature);
  const signed = { id, timestamp, body: [body] };
  if (!verify([key], signatures, signed)) return undefined;
  const isOurs = sign(key, signed) === request.headers?.[signatureHeaders.signature];
  return isOurs ? undefined : Number(timestamp) * 1000;
}

function plainText(headers: ResponseHeaders, body: Buffer): string {
  const isPlain = String(headers['content-type'] ?? '').startsWith('text/plain');
  return isPlain ? body.toString('utf8').trim().slice(0, limits.reasonChars) : '';
}

const UNSIGNED = 'the answer is not signed with our key';
