import type { Clock } from '../../host/clock.ts';
import { limits } from '../../limits.ts';
import { bundlesHeader } from '../../wire/bundle.ts';
import { decodeFrame, FrameError, messageId } from '../../wire/frame.ts';
import { sign, signatureHeaders } from '../../wire/sign.ts';
import { encodeVerdicts } from '../../wire/verdicts.ts';
import { BackendBusyError, BackendUnavailableError } from '../backends/backend.ts';
import { DigestConflictError } from '../ledger/ledger.ts';
import type { Key } from '../policy/keyring.ts';
import type { Post, Service } from './post.ts';
import { rateReply, retryLater, slower, type Reply } from './reply.ts';
import type { SignatureCheck } from './signature-check.ts';

/**
 * Answers a post of HTTP v2: it looks at the signature first, then at the clock, the frame and the mail. Every answer
 * but that to a wrong signature is signed with the key that signed the request.
 */
export async function answerV2(
  post: Post,
  check: SignatureCheck,
  service: Service,
): Promise<Reply> {
  const key = await check.find(post.body.bytes);
  if (!key) return WRONG_SIGNATURE;
  const reply =
    headersFault(check, post.arrivedAt) ??
    (await answerFrame(post, check.id, key, service).catch(replyToError));
  return signed(reply, check.id, key, service.deliverer.clock);
}

/** The answer to a signature that no key of the proxy's made. */
export const WRONG_SIGNATURE: Reply = {
  status: 401,
  text: "the signature is of none of the proxy's keys",
};

/** The answer to a request whose id or timestamp is wrong. */
export function headersFault(
  { id, timestamp }: SignatureCheck,
  arrivedAt: number,
): Reply | undefined {
  if (!messageId.test(id)) {
    return { status: 400, text: `the webhook-id does not match ${messageId}` };
  }
  const skewMs = Math.abs(Number(timestamp) * 1000 - arrivedAt);
  if (skewMs <= limits.toleranceMs) return undefined;
  return {
    status: 401,
    text: `the webhook-timestamp is more than ${limits.toleranceMs / 1000} s off`,
  };
}

/** Answers one post whose signature was right. Rejects as replyToError takes it. */
export async function answerFrame(
  { body, client }: Pick<Post, 'body' | 'client'>,
  id: string,
  key: Key,
  { deliverer, rate, note, ledgerId }: Service,
): Promise<Reply> {
  const { envelope, fixSender, ask, ledger, queue, bytes } = decodeFrame(body.bytes);
  deliverer.figures.seen(key.name, queue);
  if (bytes.length > limits.messageBytes) {
    return { status: 413, text: `the message is larger than ${limits.messageBytes} bytes` };
  }
  const own = { ledger: ledgerId };
  if (ledger !== undefined && ledger !== ledgerId) {
    // What another proxy may have sent is not known here (law 6).
    return { ...verdictsReply(id, [], own), status: 412 };
  }
  if (envelope.recipients.length === 0) {
    await deliverer.check();
    return verdictsReply(id, [], { ...own, note });
  }
  const message = { key: key.name, id, client };
  if (ask) return verdictsReply(id, await deliverer.ask(message, envelope.recipients), own);
  const tooMany = rateReply(rate, key, deliverer.clock);
  if (tooMany) return tooMany;
  deliverer.figures.count('posts', key.name);
  const { allowedSenders } = key;
  const options = { allowedSenders, fixSender, hold: body.hold };
  const verdicts = await deliverer.send({ ...message, ...options, envelope, bytes });
  return verdictsReply(id, verdicts, own);
}

/** The answer to an error of answerFrame; throws any other one, which is a defect. */
export function replyToError(error: unknown): Reply {
  if (error instanceof FrameError) return { status: 400, text: error.message };
  if (error instanceof DigestConflictError) return { status: 409, text: error.message };
  if (error instanceof BackendBusyError) {
    const { message, retryAfterMs = limits.busyRetryAfterMs } = error;
    return { ...slower(message, retryAfterMs), isTold: error.retryAfterMs !== undefined };
  }
  if (error instanceof BackendUnavailableError) {
    return retryLater(error.message, error.retryAfterMs);
  }
  throw error;
}

function verdictsReply(...answer: Parameters<typeof encodeVerdicts>): Reply {
  return {
    status: 200,
    text: encodeVerdicts(...answer).toString(),
    headers: { 'content-type': 'application/json', [bundlesHeader]: 'yes' },
  };
}

/** The answer, signed with the key that signed the request. */
export function signed(reply: Reply, id: string, key: Key, clock: Clock): Reply {
  const timestamp = String(Math.floor(clock.wallNow() / 1000));
  const signature = sign(key.secret, { id, timestamp, body: [Buffer.from(reply.text)] });
  return {
    ...reply,
    key: key.name,
    headers: {
      ...reply.headers,
      [signatureHeaders.id]: id,
      [signatureHeaders.timestamp]: timestamp,
      [signatureHeaders.signature]: signature,
    },
  };
}
