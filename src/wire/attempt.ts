import { Readable } from 'node:stream';
import { request } from 'undici';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../mail/limits.ts';
import type { Connection } from './connection.ts';
import { encodeFrame, v2Type } from './frame.ts';
import { postTimeMs } from './post-time.ts';
import { sign, signatureHeaders, verify } from './sign.ts';
import { decodeVerdicts, type Verdict } from './verdicts.ts';

/** A message to post: `id` is the same in every attempt. No recipients: a probe. */
export interface Post {
  id: string;
  envelope: Envelope;
  /** The message in pieces, which are read once to sign them and once to send them. */
  bytes: Iterable<Buffer>;
  /** In bytes. */
  size: number;
}

/** What came of one attempt, as facts; what they mean is for the caller to decide. */
export type Answer =
  /** A well-formed answer, signed with our key, about exactly this post. */
  | { kind: 'verdicts'; verdicts: Verdict[] }
  /** The proxy, by its signature, finds our clock too far off; the connection knows its time now. */
  | { kind: 'clock' }
  /** A 200 that is not to be trusted or understood. */
  | { kind: 'unusable'; signed: boolean; fault: string }
  /** Any other HTTP status; `text` is the beginning of its body when that is plain text. */
  | { kind: 'http'; status: number; text: string; retryAfterMs: number | undefined }
  /** No complete answer; `code` is that of Node, OpenSSL or undici. */
  | { kind: 'network'; code: string; text: string }
  /** The message's bytes could not be read. */
  | { kind: 'unreadable'; text: string }
  /** The caller gave up waiting. */
  | { kind: 'aborted' };

/**
 * Makes one signed attempt of HTTP v2 (src/wire/README.md). Never throws, never retries, never follows
 * a redirect. Takes at most postTimeMs of what it sends.
 */
export async function attempt(
  connection: Connection,
  { id, envelope, bytes, size }: Post,
  stop: AbortSignal,
): Promise<Answer> {
  const frame = encodeFrame(envelope);
  let unreadable: Error | undefined;
  const body = {
    *[Symbol.iterator]() {
      yield frame;
      try {
        yield* bytes;
      } catch (error) {
        unreadable = error as Error;
        throw error;
      }
    },
  };
  const length = frame.length + size;
  const timestamp = String(Math.floor((Date.now() + connection.clockOffsetMs) / 1000));
  const timeLimit = AbortSignal.timeout(postTimeMs(length));
  try {
    const response = await request(connection.url, {
      method: 'POST',
      dispatcher: connection.dispatcher,
      signal: AbortSignal.any([stop, timeLimit]),
      headers: {
        'content-type': v2Type,
        'content-length': String(length),
        'user-agent': 'appengine-mailer',
        [signatureHeaders.id]: id,
        [signatureHeaders.timestamp]: timestamp,
        [signatureHeaders.signature]: sign(connection.key, { id, timestamp, body }),
      },
      body: Readable.from(body),
    });
    const { statusCode: status, headers } = response;
    const answer = Buffer.from(await response.body.arrayBuffer());
    const serverTime = signedTime(connection, id, headers, answer);

    if (status === 200) {
      if (serverTime === undefined) return { kind: 'unusable', signed: false, fault: UNSIGNED };
      const verdicts = decodeVerdicts(answer, id, envelope.recipients);
      if (!Array.isArray(verdicts)) return { kind: 'unusable', signed: true, ...verdicts };
      return { kind: 'verdicts', verdicts };
    }
    if (status === 401 && serverTime !== undefined) {
      connection.clockOffsetMs = serverTime - Date.now();
      return { kind: 'clock' };
    }
    return {
      kind: 'http',
      status,
      text: plainText(headers, answer),
      retryAfterMs: retryAfterMs(headers['retry-after']),
    };
  } catch (error) {
    if (unreadable) return { kind: 'unreadable', text: unreadable.message };
    if (stop.aborted) return { kind: 'aborted' };
    if (timeLimit.aborted) return { kind: 'network', code: 'TIMEOUT', text: 'no answer in time' };
    return { kind: 'network', ...cause(error) };
  }
}

type Headers = Record<string, string | string[] | undefined>;

/** The time of the server's clock, in milliseconds, when the answer to `id` is signed with our key. */
function signedTime(
  connection: Connection,
  id: string,
  headers: Headers,
  body: Buffer,
): number | undefined {
  const header = (name: string) => String(headers[name] ?? '');
  const timestamp = header(signatureHeaders.timestamp);
  if (header(signatureHeaders.id) !== id || !/^\d{1,12}$/.test(timestamp)) return undefined;
  const signatures = header(signatureHeaders.signature);
  const valid = verify([connection.key], signatures, { id, timestamp, body: [body] });
  return valid && Number(timestamp) * 1000;
}

/** Retry-After in milliseconds: seconds or a date (RFC 9110 10.2.3). */
function retryAfterMs(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string') return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function plainText(headers: Headers, body: Buffer): string {
  const isPlain = String(headers['content-type'] ?? '').startsWith('text/plain');
  return isPlain ? body.toString('utf8').trim().slice(0, limits.reasonChars) : '';
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

const UNSIGNED = 'the answer is not signed with our key';
