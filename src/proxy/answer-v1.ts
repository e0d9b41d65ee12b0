import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { addressList } from '../mail/address-list.ts';
import { statuses, statusClass } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../mail/limits.ts';
import { printable } from '../mail/printable.ts';
import type { Answer, Post } from '../wire/attempt.ts';
import { decodeForm, FormError } from '../wire/form.ts';
import { decodeMultipart } from '../wire/multipart-form.ts';
import { postToAll } from '../wire/post-to-all.ts';
import { verifyV1 } from '../wire/sign-v1.ts';
import type { Verdict } from '../wire/verdicts.ts';
import type { Rights } from './backend.ts';
import { MailFault, readMail } from './read-mail.ts';
import { RelayUnavailable, type Relay } from './relay.ts';
import { retryLater, tooMany, type Reply } from './reply.ts';
import type { Service } from './service.ts';
import { ticketOf } from './ticket.ts';

/**
 * Answers a post of HTTP v1, the interface of 2012: 204 when it was sent to every recipient, 400 when the
 * form or the mail is at fault, 500 when it may be sent later; each with one line for people. Never 401,
 * at which the clients of 2012 ask for a password.
 */
export async function answerV1(
  headers: IncomingHttpHeaders,
  body: Buffer,
  { keys, relay, rate }: Service,
): Promise<Reply> {
  try {
    const { message, signature, fixSender } = readForm(headers, body);
    const key = keys.find((secrets) => verifyV1(secrets, signature, message));
    if (!key) throw new FormError("Signature doesn't match");
    const waitMs = rate?.take(key.secret, performance.now()) ?? 0;
    if (rate && waitMs > 0) return tooMany(rate.perMinute, waitMs);

    const { envelope, bytes } = readMail(message, relay.recipientsMax);
    // The client gives no id: every post is a message of its own.
    const id = randomBytes(16).toString('hex');
    const rights = { allowedSenders: key.allowedSenders, fixSender, ticket: ticketOf(headers) };
    return replyOf(await sendToAll(relay, id, envelope, bytes, rights));
  } catch (error) {
    if (error instanceof FormError) return { status: 400, text: error.message };
    if (error instanceof MailFault) {
      return { status: relay.softBounce ? 500 : 400, text: error.message };
    }
    if (error instanceof RelayUnavailable) {
      return { ...retryLater(error.message, error.retryAfterMs), status: 500 };
    }
    throw error;
  }
}

function readForm(headers: IncomingHttpHeaders, body: Buffer) {
  // Whatever else the type says, or if there is none, it is a form: the first client sent none.
  const { 'content-type': type = '' } = headers;
  const fields = /^multipart\//i.test(type) ? decodeMultipart(type, body) : decodeForm(body);
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
  relay: Relay,
  id: string,
  envelope: Envelope,
  bytes: Buffer,
  rights: Rights,
): Promise<Verdict[]> {
  const once = async ({ envelope: part }: Post): Promise<Answer> => {
    const verdicts = await relay.send(id, part, bytes, rights).catch((error: Error) => {
      const isFirst = part.recipients.length === envelope.recipients.length;
      if (isFirst || !(error instanceof RelayUnavailable)) throw error;
      // Others were sent, which the client is to hear.
      const { message: reason } = error;
      return part.recipients.map((recipient) => ({ recipient, status: statuses.trouble, reason }));
    });
    return { kind: 'verdicts', verdicts };
  };
  const { verdicts } = await postToAll({ id, envelope, bytes: [bytes], size: bytes.length }, once);
  return verdicts;
}

function replyOf(verdicts: readonly Verdict[]): Reply {
  const unsent = verdicts.filter(({ status }) => statusClass(status) !== 'sent');
  if (unsent.length === 0) return { status: 204, text: '' };
  const deferred = unsent.some(({ status }) => statusClass(status) === 'deferred');
  const said = [...new Set(unsent.map(({ reason }) => reason))].map((reason) => {
    const those = unsent.filter((verdict) => verdict.reason === reason);
    return `${reason} (${addressList(those.map(({ recipient }) => recipient))})`;
  });
  if (unsent.length < verdicts.length) said.push('sent to the other recipients');
  const text = printable(said.join('; ')).slice(0, limits.answerChars);
  return { status: deferred ? 500 : 400, text };
}
