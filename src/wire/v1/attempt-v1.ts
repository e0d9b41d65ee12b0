import { addressFault } from '../../mail/address-fault.ts';
import { statuses } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import { retryAfterMs, type PostResult, type PostRequest, type PostFailure } from '../attempt.ts';
import type { Connection } from '../connection.ts';
import { exchange } from '../exchange.ts';
import { encodeForm } from './form.ts';
import { messageV1 } from './message-v1.ts';
import { signV1 } from './sign-v1.ts';
import type { Verdict } from '../verdicts.ts';

/**
 * Makes one attempt of HTTP v1 (src/wire/README.md), as `exchange` does. A post of v1 has one recipient,
 * the first whose address can be put into a header; those behind it are surplus, 4.5.3. Where there is
 * none, and for a probe, it is asked whether the server is there. `success` is a status by which the server
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
  const answer =
    posted === undefined
      ? await knock(connection, post, stop)
      : await postOne(connection, post, posted, stop, success);
  if (answer.kind !== 'verdict') return answer;

  const verdicts = recipients.map((recipient) => {
    if (recipient === posted) return { recipient, status: answer.status, reason: answer.reason };
    const fault = addressFault(recipient);
    if (fault !== undefined) return { recipient, status: statuses.badRecipient, reason: fault };
    return { recipient, status: statuses.surplus, reason: 'HTTP v1 takes one recipient a post' };
  });
  return { kind: 'verdicts', verdicts };
}

/** What a server of v1 says of its one recipient. */
type Said = ({ kind: 'verdict' } & Omit<Verdict, 'recipient'>) | PostFailure;

async function postOne(
  connection: Connection,
  { bytes, fresh }: PostRequest,
  recipient: string,
  stop: AbortSignal,
  success: number,
): Promise<Said> {
  let message;
  try {
    const messageFor = prepared.get(bytes) ?? messageV1(Buffer.concat([...bytes]));
    prepared.set(bytes, messageFor);
    message = messageFor(recipient);
  } catch (error) {
    return { kind: 'unreadable', text: (error as Error).message };
  }
  const signature = signV1(connection.key, message);
  const form = encodeForm({ msg: message, signature });
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': String(form.length),
  };
  const response = await exchange(
    connection,
    { method: 'POST', headers, body: [form], length: form.length, fresh, onlyOnce: true },
    stop,
  );
  if (response.kind !== 'response') return response;

  const { status } = response;
  if (status === SENT || status === success) {
    return { kind: 'verdict', status: statuses.sent, reason: 'sent' };
  }
  if (status >= 200 && status < 300) return { kind: 'maybe sent', recipient, status };
  const text = firstLine(response.body);
  const refusal = status === 400 && REFUSALS.find(([beginning]) => text.startsWith(beginning));
  if (refusal) return { kind: 'verdict', status: refusal[1], reason: text };
  return { kind: 'http', status, text, retryAfterMs: retryAfterMs(response.headers) };
}

/** By which a server of v1 says that it sent. */
export const SENT = 204;

/** Messages that are being posted, by their bytes: each is posted once for every recipient. */
const prepared = new WeakMap<Iterable<Buffer>, ReturnType<typeof messageV1>>();

/** The probe of v1, which has none: it tells that the server is there, not that it takes our key. */
async function knock(
  connection: Connection,
  { fresh }: PostRequest,
  stop: AbortSignal,
): Promise<Said> {
  const response = await exchange(connection, { method: 'GET', length: 0, fresh }, stop);
  if (response.kind !== 'response') return response;
  const { status, headers } = response;
  if (status === 200) return { kind: 'verdict', status: statuses.sent, reason: '' };
  return { kind: 'http', status, text: '', retryAfterMs: retryAfterMs(headers) };
}

/** The original says what it has to say in one line, and calls it HTML; HTML is somebody else's. */
function firstLine(body: Buffer): string {
  const text = body.toString('utf8').trim();
  if (text.startsWith('<')) return '';
  return (text.split('\n')[0] ?? '').trim().slice(0, limits.reasonChars);
}

/** How the original's answers begin that no repetition changes, and what they mean (RFC 3463). */
const REFUSALS = [
  ['Unauthorized message sender', statuses.senderRefused],
  ['No sender', statuses.badSender],
  ['No destination', statuses.badRecipient],
  ['No message body', statuses.badContent],
  ["Google won't", statuses.badContent],
] as const;
