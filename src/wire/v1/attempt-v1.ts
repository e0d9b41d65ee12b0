import type { Clock } from '../../host/clock.ts';
import { addressFault } from '../../mail/address-fault.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import { retryAfterMs, type PostResult, type PostRequest, type PostFailure } from '../attempt.ts';
import type { Connection } from '../connection.ts';
import { exchange, type Response } from '../exchange.ts';
import { encodeForm } from './form.ts';
import { messageV1 } from './message-v1.ts';
import { signV1 } from './sign-v1.ts';
import type { Verdict } from '../verdicts.ts';

/**
 * Makes one attempt of HTTP v1 (src/wire/README.md), as `exchange` does. A post of v1 has one recipient,
 * the first whose address can be put into a header; those behind it are surplus, 4.5.3. Where there is
 * none, and for a probe, the server is only asked whether it is there. `success` is a status by which it
 * says that it sent, besides 204; after any other 2xx nobody knows.
 */
export async function attemptV1(
  connection: Connection,
  post: PostRequest,
  stop: AbortSignal,
  success: number = SENT,
): Promise<PostResult> {
  const { recipients } = post.envelope;
  const posted = recipients.find((recipient) => addressFault(recipient) === undefined);
  const result =
    posted === undefined
      ? await ping(connection, post, stop)
      : await postOne(connection, post, stop, { recipient: posted, success });
  if (result.kind !== 'verdict') return result;

  const verdicts = recipients.map((recipient) => {
    if (recipient === posted) return { recipient, status: result.status, reason: result.reason };
    const fault = addressFault(recipient);
    if (fault !== undefined) return { recipient, status: statuses.badRecipient, reason: fault };
    return { recipient, status: statuses.surplus, reason: 'HTTP v1 takes one recipient a post' };
  });
  return { kind: 'verdicts', verdicts };
}

/** What a v1 server says about its one recipient, or why it says nothing. */
type OneResult = ({ kind: 'verdict' } & Omit<Verdict, 'recipient'>) | PostFailure;

interface OnePost {
  recipient: string;
  success: number;
}

async function postOne(
  connection: Connection,
  { bytes, fresh }: PostRequest,
  stop: AbortSignal,
  { recipient, success }: OnePost,
): Promise<OneResult> {
  let message;
  try {
    const messageFor = prepared.get(bytes) ?? messageV1(Buffer.concat([...bytes]));
    prepared.set(bytes, messageFor);
    message = messageFor(recipient);
  } catch (error) {
    return { kind: 'unreadable', text: (error as Error).message };
  }
  const form = encodeForm({ msg: message, signature: signV1(connection.key, message) });
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(form.length),
  };
  const request = { method: 'POST' as const, headers, body: [form], length: form.length };
  const response = await exchange(connection, { ...request, fresh, onlyOnce: true }, stop);
  return response.kind === 'response'
    ? resultOf(response, { recipient, success, clock: connection.machine })
    : response;
}

function resultOf(
  { status, headers, body }: Response,
  { recipient, success, clock }: OnePost & { clock: Clock },
): OneResult {
  if (status === SENT || status === success) {
    return { kind: 'verdict', status: statuses.sent, reason: 'sent' };
  }
  if (status >= 200 && status < 300) return maybeSent(status, recipient);
  const text = firstLine(body);
  const refusal = status === 400 && REFUSALS.find(([beginning]) => text.startsWith(beginning));
  if (refusal) return { kind: 'verdict', status: refusal[1], reason: text };
  const wrongKey = status === 400 && text.startsWith("Signature doesn't match");
  const http = { kind: 'http' as const, status, text, retryAfterMs: retryAfterMs(headers, clock) };
  return wrongKey ? { ...http, wrongKey } : http;
}

function maybeSent(status: number, recipient: string): PostFailure {
  return {
    kind: 'maybe-sent',
    text:
      `the server answered ${status} to the post for <${recipient}>, and not 204: ` +
      'it may have sent the message or not',
    remedy:
      `if this server answers ${status} when it has sent, set --v1-success ${status}; ` +
      'else check that GMAIL_PROXY_URL is an appengine-mailer proxy, and --wire what it speaks',
  };
}

/** The HTTP status by which a v1 server says that it sent the message. */
export const SENT = 204;

/** Messages that are being posted, by their bytes: each is posted once for every recipient. */
const prepared = new WeakMap<Iterable<Buffer>, ReturnType<typeof messageV1>>();

/** Stands in for a probe, which v1 does not have: it shows that the server is there, not that it takes our key. */
async function ping(
  connection: Connection,
  { fresh }: PostRequest,
  stop: AbortSignal,
): Promise<OneResult> {
  const response = await exchange(connection, { method: 'GET', length: 0, fresh }, stop);
  if (response.kind !== 'response') return response;
  const { status, headers } = response;
  if (status === 200) return { kind: 'verdict', status: statuses.sent, reason: '' };
  return {
    kind: 'http',
    status,
    text: '',
    retryAfterMs: retryAfterMs(headers, connection.machine),
  };
}

/** A v1 server answers with one line of text, although it calls it HTML; real HTML comes from another server. */
function firstLine(body: Buffer): string {
  const text = body.toString('utf8').trim();
  if (text.startsWith('<')) return '';
  return (text.split('\n')[0] ?? '').trim().slice(0, limits.reasonChars);
}

/** How the answers of a v1 server begin that stay the same however often it is asked, and what they mean (RFC 3463). */
const REFUSALS = [
  ['Unauthorized message sender', statuses.senderRefused],
  ['No sender', statuses.badSender],
  ['No destination', statuses.badRecipient],
  ['No message body', statuses.badContent],
  ["Google won't", statuses.badContent],
] as const;
