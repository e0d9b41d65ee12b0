import { newId } from '../../host/new-id.ts';
import { addressList } from '../../mail/address-list.ts';
import { statuses, statusClass } from '../../mail/enhanced-status.ts';
import { limits } from '../../limits.ts';
import { printable } from '../../mail/printable.ts';
import type { PostResult, PostRequest } from '../../wire/attempt.ts';
import { postUntilSettled } from '../../wire/post-until-settled.ts';
import {
  decodeForm,
  decodeMultipart,
  FormError,
  InvalidMailError,
  readMail,
  verifyV1,
} from '../../wire/v1/v1.ts';
import type { Verdict } from '../../wire/verdicts.ts';
import { BackendBusyError, BackendUnavailableError } from '../backends/backend.ts';
import type { Deliverer, MessageToSend } from '../deliverer.ts';
import type { Key, Keyring } from '../policy/keyring.ts';
import type { Post, Service } from './post.ts';
import { rateReply, retryLater, type Reply } from './reply.ts';

/**
 * Answers a post of HTTP v1 (src/wire/README.md): 204 when it was sent to every recipient, 400 when the form or the
 * mail is at fault, 500 when it may be sent later; each with one line for people. It is never 401, at which v1 clients
 * ask for a password. The answer waits for the backend for limits.answerV1Ms at most; what is still being sent then is
 * a 500, although it may arrive.
 */
export async function answerV1(post: Post, service: Service): Promise<Reply> {
  let key: Key | undefined;
  try {
    const form = await readForm(post);
    key = await keyOf(form, service.keys);
    service.deliverer.figures.seen(key.name, undefined);
    service.deliverer.figures.count('posts', key.name);
    return { ...(await answerForm(form, key, post, service)), key: key.name };
  } catch (error) {
    return { ...replyToError(error, service.deliverer), key: key?.name };
  }
}

interface Form {
  message: Buffer;
  signature: Buffer;
  fixSender: boolean;
}

async function readForm({ headers, body: { bytes } }: Post): Promise<Form> {
  // Any other type, or none, means a form: the first v1 client sent no type.
  const { 'content-type': type = '' } = headers;
  const decoded = /^multipart\//i.test(type) ? decodeMultipart(type, bytes) : decodeForm(bytes);
  const fields = await decoded;
  const message = fields.get('msg');
  if (!message?.length) throw new FormError('No message found');
  const signature = fields.get('signature');
  if (!signature?.length) throw new FormError('No signature found');
  // The v1 server takes "false" for true as well.
  return { message, signature, fixSender: (fields.get('fix_sender')?.length ?? 0) > 0 };
}

async function keyOf({ message, signature }: Form, { keys }: Keyring): Promise<Key> {
  const secrets = keys.map(({ secret }) => secret);
  const signer = await verifyV1(secrets, signature, message);
  const key = keys.find(({ secret }) => secret === signer);
  if (!key) throw new FormError("Signature doesn't match");
  return key;
}

async function answerForm(
  { message, fixSender }: Form,
  key: Key,
  { client, body }: Post,
  { deliverer, rate, fixSender: always = false }: Service,
): Promise<Reply> {
  const tooMany = rateReply(rate, key, deliverer.clock);
  if (tooMany) return tooMany;
  const mail = readMail(message, deliverer.recipientsMax, fixSender || always);
  // The client gives no id: every post is a message of its own.
  const name = { key: key.name, id: newId(deliverer.clock), client };
  const { allowedSenders } = key;
  const options = { allowedSenders, fixSender, hold: body.hold };
  return replyOf(await sendToAll(deliverer, { ...name, ...options, ...mail }));
}

function replyToError(error: unknown, { softBounce }: Deliverer): Reply {
  if (error instanceof FormError) return { status: 400, text: error.message };
  if (error instanceof InvalidMailError) {
    return { status: softBounce ? 500 : 400, text: error.message };
  }
  if (!isTemporary(error)) throw error;
  return { ...retryLater(error.message, error.retryAfterMs), status: 500 };
}

function isTemporary(error: unknown): error is BackendBusyError | BackendUnavailableError {
  return error instanceof BackendBusyError || error instanceof BackendUnavailableError;
}

/**
 * Sends to everybody: to those who were too many for the relay (4.5.3) again at once, since the client could only post
 * to all of them again, as another message.
 */
async function sendToAll(deliverer: Deliverer, message: MessageToSend): Promise<Verdict[]> {
  const { id, envelope, bytes } = message;
  const ends = deliverer.clock.now() + limits.answerV1Ms;
  const once = async ({ envelope: part }: PostRequest): Promise<PostResult> => {
    try {
      const waitMs = Math.max(0, ends - deliverer.clock.now());
      const verdicts = await deliverer.send({ ...message, envelope: part }, waitMs);
      return { kind: 'verdicts', verdicts };
    } catch (error) {
      const isFirst = part.recipients.length === envelope.recipients.length;
      if (isFirst || !isTemporary(error)) throw error;
      // The client has to hear that it was sent to others.
      const later = { status: statuses.trouble, reason: error.message };
      return {
        kind: 'verdicts',
        verdicts: part.recipients.map((recipient) => ({ recipient, ...later })),
      };
    }
  };
  const post = { id, envelope, bytes: [bytes], size: bytes.length };
  const { verdicts } = await postUntilSettled(post, once, deliverer.clock, AbortSignal.abort());
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
