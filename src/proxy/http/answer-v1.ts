import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { addressList } from '../../mail/address-list.ts';
import { statuses, statusClass } from '../../mail/enhanced-status.ts';
import type { Envelope } from '../../mail/envelope.ts';
import { limits } from '../../limits.ts';
import { printable } from '../../mail/printable.ts';
import type { PostResult, PostRequest } from '../../wire/attempt.ts';
import { decodeForm, FormError } from '../../wire/v1/form.ts';
import { decodeMultipart } from '../../wire/v1/multipart-form.ts';
import { postUntilSettled } from '../../wire/post-until-settled.ts';
import { verifyV1 } from '../../wire/v1/sign-v1.ts';
import type { Verdict } from '../../wire/verdicts.ts';
import {
  BackendBusyError,
  BackendUnavailableError,
  type SendOptions,
} from '../backends/backend.ts';
import { InvalidMailError, readMail } from '../../wire/v1/read-mail.ts';
import type { Deliverer } from '../deliverer.ts';
import type { Key } from '../policy/keyring.ts';
import type { PostedMessage } from '../ledger/message-name.ts';
import { retryLater, slower, type Reply } from './reply.ts';
import type { RequestBody } from './request-bodies.ts';
import type { Service } from './service.ts';
import { ticketOf } from '../backends/appengine/ticket.ts';

/**
 * Answers a post of HTTP v1, the interface of 2012: 204 when it was sent to every recipient, 400 when the
 * form or the mail is at fault, 500 when it may be sent later; each with one line for people. Never 401,
 * at which the clients of 2012 ask for a password. The answer waits for the backend for as long as
 * limits.answerV1Ms; what is still being sent then is a 500, although it may arrive.
 */
export async function answerV1(
  headers: IncomingHttpHeaders,
  client: string,
  { bytes: body, hold }: RequestBody,
  { keys, deliverer, rate, fixSender: always = false }: Service,
): Promise<Reply> {
  let key: Key | undefined;
  const by = (reply: Reply): Reply => ({ ...reply, key: key?.name });
  try {
    const { message, signature, fixSender } = await readForm(headers, body);
    const found = keys.keys;
    const secret = await verifyV1(
      found.map((each) => each.secret),
      signature,
      message,
    );
    key = found.find((each) => each.secret === secret);
    if (!key) throw new FormError("Signature doesn't match");
    const waitMs = rate?.take(key, performance.now()) ?? 0;
    if (rate && waitMs > 0) return by(slower(`more than ${rate.perMinute} posts a minute`, waitMs));

    const { envelope, bytes } = readMail(message, deliverer.recipientsMax, fixSender || always);
    // The client gives no id: every post is a message of its own.
    const name = { key: key.name, id: randomBytes(16).toString('hex'), client };
    const { allowedSenders } = key;
    const rights = { allowedSenders, fixSender, hold, ticket: ticketOf(headers) };
    return by(replyOf(await sendToAll(deliverer, name, envelope, bytes, rights)));
  } catch (error) {
    if (error instanceof FormError) return by({ status: 400, text: error.message });
    if (error instanceof InvalidMailError) {
      return by({ status: deliverer.softBounce ? 500 : 400, text: error.message });
    }
    if (error instanceof BackendBusyError) return by({ ...retryLater(error.message), status: 500 });
    if (error instanceof BackendUnavailableError) {
      return by({ ...retryLater(error.message, error.retryAfterMs), status: 500 });
    }
    throw error;
  }
}

async function readForm(headers: IncomingHttpHeaders, body: Buffer) {
  // Whatever else the type says, or if there is none, it is a form: the first client sent none.
  const { 'content-type': type = '' } = headers;
  const decoded = /^multipart\//i.test(type) ? decodeMultipart(type, body) : decodeForm(body);
  const fields = await decoded;
  const message = fields.get('msg');
  if (!message?.length) throw new FormError('No message found');
  const signature = fields.get('signature');
  if (!signature?.length) throw new FormError('No signature found');
  // As in 2012, "false" is true.
  return { message, signature, fixSender: (fields.get('fix_sender')?.length ?? 0) > 0 };
}

/**
 * Sends to everybody: those who were too many for the relay (4.5.3) again at once, for the client could
 * only post to all of them again, as another message.
 */
async function sendToAll(
  deliverer: Deliverer,
  message: PostedMessage,
  envelope: Envelope,
  bytes: Buffer,
  rights: SendOptions,
): Promise<Verdict[]> {
  const ends = performance.now() + limits.answerV1Ms;
  const once = async ({ envelope: part }: PostRequest): Promise<PostResult> => {
    try {
      const waitMs = Math.max(0, ends - performance.now());
      const verdicts = await deliverer.send(message, part, bytes, rights, waitMs);
      return { kind: 'verdicts', verdicts };
    } catch (error) {
      const isLater = error instanceof BackendUnavailableError || error instanceof BackendBusyError;
      const isFirst = part.recipients.length === envelope.recipients.length;
      if (isFirst || !isLater) throw error;
      // Others were sent, which the client is to hear.
      const later = { status: statuses.trouble, reason: error.message };
      return {
        kind: 'verdicts',
        verdicts: part.recipients.map((recipient) => ({ recipient, ...later })),
      };
    }
  };
  const post = { id: message.id, envelope, bytes: [bytes], size: bytes.length };
  const { verdicts } = await postUntilSettled(post, once, AbortSignal.abort());
  return verdicts;
}

function replyOf(verdicts: readonly Verdict[]): Reply {
  const unsent = verdicts.filter(({ status }) => statusClass(status) !== 'sent');
  if (unsent.length === 0) return { status: 204, text: '' };
  const deferred = unsent.some(({ status }) => statusClass(status) === 'deferred');
  const said = [...new Set(unsent.map(whyOf))].map((reason) => {
    const those = unsent.filter((verdict) => whyOf(verdict) === reason);
    return `${reason} (${addressList(those.map(({ recipient }) => recipient))})`;
  });
  if (unsent.length < verdicts.length) said.push('sent to the other recipients');
  const text = printable(said.join('; '), limits.answerChars);
  return { status: deferred ? 500 : 400, text };
}

function whyOf({ reason, inProgress }: Verdict): string {
  return inProgress ? IN_PROGRESS : reason;
}

const IN_PROGRESS = 'still being sent, and posting it again would send it twice';
