import type { IncomingHttpHeaders } from 'node:http';
import { limits } from '../../limits.ts';
import { decodeFrame, FrameError, messageId } from '../../wire/frame.ts';
import { sign, signatureHeaders } from '../../wire/sign.ts';
import { encodeVerdicts } from '../../wire/verdicts.ts';
import { BackendBusyError, BackendUnavailableError } from '../backends/backend.ts';
import { DigestConflictError } from '../ledger/ledger.ts';
import type { Key } from '../policy/keyring.ts';
import { retryLater, slower, type Reply } from './reply.ts';
import type { RequestBody } from './request-bodies.ts';
import type { Service } from './service.ts';
import type { SignatureCheck } from './signature-check.ts';
import { ticketOf } from '../backends/appengine/ticket.ts';

/**
 * Answers a post of HTTP v2: signature first, then the clock, then the frame, then the mail. Every
 * answer but that to a wrong signature is signed with the key that signed the request. `arrivedAt` is
 * when the request began: a large body on a slow line may take longer than clocks may differ. `client` is who posted it, for people.
 */
export async function answerV2(
  headers: IncomingHttpHeaders,
  { id, timestamp, find }: SignatureCheck,
  { arrivedAt, client }: { arrivedAt: number; client: string },
  body: RequestBody,
  { deliverer, rate, note }: Service,
): Promise<Reply> {
  const key = await find(body.bytes);
  if (!key) return WRONG_SIGNATURE;

  const request = { id, timestamp, arrivedAt, client, body, ticket: ticketOf(headers) };
  const reply = await answerSigned(request, key, { deliverer, rate, note });
  const answered = {
    id,
    timestamp: String(Math.floor(Date.now() / 1000)),
    body: [Buffer.from(reply.text)],
  };
  return {
    ...reply,
    key: key.name,
    headers: {
      ...reply.headers,
      [signatureHeaders.id]: answered.id,
      [signatureHeaders.timestamp]: answered.timestamp,
      [signatureHeaders.signature]: sign(key.secret, answered),
    },
  };
}

/** The answer to a signature that no key of the proxy's made. */
export const WRONG_SIGNATURE: Reply = {
  status: 401,
  text: "the signature is of none of the proxy's keys",
};

interface SignedRequest {
  id: string;
  timestamp: string;
  arrivedAt: number;
  client: string;
  body: RequestBody;
  ticket: string | undefined;
}

async function answerSigned(
  { id, timestamp, arrivedAt, client, body, ticket }: SignedRequest,
  key: Key,
  { deliverer, rate, note }: Omit<Service, 'keys'>,
): Promise<Reply> {
  if (!messageId.test(id)) {
    return { status: 400, text: `the webhook-id does not match ${messageId}` };
  }
  const skewMs = Math.abs(Number(timestamp) * 1000 - arrivedAt);
  if (!(skewMs <= limits.toleranceMs)) {
    return {
      status: 401,
      text: `the webhook-timestamp is more than ${limits.toleranceMs / 1000} s off`,
    };
  }
  try {
    const { envelope, fixSender, ask, bytes } = decodeFrame(body.bytes);
    if (bytes.length > limits.messageBytes) {
      return { status: 413, text: `the message is larger than ${limits.messageBytes} bytes` };
    }
    if (envelope.recipients.length === 0) {
      await deliverer.check();
      return verdictsReply(id, [], note);
    }
    const message = { key: key.name, id, client };
    if (ask) return verdictsReply(id, await deliverer.ask(message, envelope.recipients));
    const waitMs = rate?.take(key, performance.now()) ?? 0;
    if (rate && waitMs > 0) return slower(`more than ${rate.perMinute} posts a minute`, waitMs);
    const { allowedSenders } = key;
    const rights = { allowedSenders, fixSender, hold: body.hold, ticket };
    return verdictsReply(id, await deliverer.send(message, envelope, bytes, rights));
  } catch (error) {
    if (error instanceof FrameError) return { status: 400, text: error.message };
    if (error instanceof DigestConflictError) return { status: 409, text: error.message };
    if (error instanceof BackendBusyError) return slower(error.message, limits.busyRetryAfterMs);
    if (error instanceof BackendUnavailableError) {
      return retryLater(error.message, error.retryAfterMs);
    }
    throw error;
  }
}

function verdictsReply(...answer: Parameters<typeof encodeVerdicts>): Reply {
  return {
    status: 200,
    text: encodeVerdicts(...answer).toString(),
    headers: { 'content-type': 'application/json' },
  };
}
