import { isAscii } from 'node:buffer';
import { isIP } from 'node:net';
import type { SMTPError } from 'nodemailer/lib/smtp-connection';
import { addressLiteral } from '../../../host/machine-names.ts';
import { pieces } from '../../../host/pieces.ts';
import { addressFault } from '../../../mail/address-fault.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import type { Verdict } from '../../../wire/verdicts.ts';
import {
  BackendBusyError,
  BackendUnavailableError,
  type Backend,
  type Delivery,
  type Result,
} from '../backend.ts';
import { readReply, type SmtpReply, type SmtpStep } from './read-reply.ts';
import { smtpErrorText } from './smtp-error-text.ts';
import { SmtpSessions, type SmtpRelay, type SmtpSession } from './smtp-sessions.ts';

/**
 * Sends on by SMTP (RFC 5321) to one relay, each message in one transaction. Of its bytes only line ends
 * change: every LF and CR that is not part of a CRLF becomes one, as SMTP must have it (2.3.8), and a last
 * line without an end gets one. 8-bit octets are announced where 8BITMIME is offered, and sent all the
 * same where it is not, as Exim does: nothing is converted.
 */
export function smtpBackend(relay: SmtpRelay): Backend {
  const sessions = new SmtpSessions(relay);
  const mta = isIP(relay.host) === 0 ? relay.host : addressLiteral(relay.host);
  const told = (text: string) => `the relay ${relay.host}:${relay.port}: ${text}`;
  const unavailable = (error: unknown) => {
    if (error instanceof BackendBusyError) throw error;
    throw new BackendUnavailableError(told(smtpErrorText(error)));
  };

  async function deliver(first: SmtpSession, delivery: Delivery): Promise<Result[]> {
    let session = first;
    let outcome = await transact(session, delivery, mta);
    if ('trouble' in outcome && outcome.trouble === 'stale') {
      session = await sessions.renew(session).catch(unavailable);
      outcome = await transact(session, delivery, mta);
    }
    void sessions.giveBack(session, { reset: outcome.reset });
    if ('results' in outcome) return outcome.results;
    if (outcome.trouble === 'unknown') throw new Error(told(outcome.text));
    throw new BackendUnavailableError(told(outcome.text));
  }

  return {
    async reserve(giveUp) {
      const session = await sessions.take(giveUp).catch(unavailable);
      return {
        deliver: async (delivery) => deliver(session, delivery),
        release: () => void sessions.giveBack(session),
      };
    },
  };
}

/**
 * What came of a transaction: results, or trouble. It is `unknown` when the end of the message may have
 * reached the relay and no reply came, and `stale` when the connection had died or was given up by the
 * relay while it was idle: nobody's fault, and to be tried on another one. `reset`: the session still has
 * the envelope.
 */
type Outcome = { reset: boolean } & (
  { results: Result[] } | { trouble: 'unavailable' | 'unknown' | 'stale'; text: string }
);

async function transact(
  { client, used, wasIdle }: SmtpSession,
  { sender, recipients, bytes }: Delivery,
  mta: string,
): Promise<Outcome> {
  const unfit = unfitAddresses(sender, recipients, client.extensions);
  const to = recipients.filter((recipient) => !unfit.has(recipient));
  if (to.length === 0) return { reset: false, results: [...unfit.values()] };

  const envelope = { from: sender, to, size: sizeInCrlf(bytes), use8BitMime: !isAscii(bytes) };
  const { ended, rejected, stage } = await client.send(envelope, pieces(bytes));
  const isReply = !(ended instanceof Error);
  const final = isReply ? readReply(ended.response, 'message') : finalReply(ended);
  const text = isReply ? ended.response : smtpErrorText(ended);

  const reset = final !== undefined && stage !== 'whole';
  const sent = final?.status.startsWith('2') === true;
  if (stage === 'whole' ? !final : sent) return { reset, trouble: 'unknown', text };
  const refused = new Map(
    rejected.map(({ recipient = '', response = '' }) => [recipient, readReply(response, 'RCPT')]),
  );
  const ofRelay = [final, ...refused.values()].find((reply) => reply?.ofRelay);
  if (!final || (ofRelay && !sent)) {
    const isClosed = !final || final.reason.startsWith('421 ');
    const stale = (used > 0 || wasIdle) && stage === 'envelope' && isClosed;
    const reason = ofRelay?.reason ?? text;
    return { reset, trouble: stale ? 'stale' : 'unavailable', text: reason };
  }
  const results = to.map((recipient) => ({
    recipient,
    ...verdictOf(refused.get(recipient) ?? final, mta),
  }));
  return { reset, results: [...unfit.values(), ...results] };
}

/** What the relay, or nodemailer for it, says of a message that was not taken; undefined when nothing. */
function finalReply({
  code,
  command,
  response,
  message,
}: SMTPError): (SmtpReply & { isOurs?: boolean }) | undefined {
  // It knows the largest size that the server announced (RFC 1870).
  if (code === 'EMESSAGE' && !response) {
    return { status: statuses.tooLarge, reason: message, ofRelay: false, isOurs: true };
  }
  if (!response || (code !== 'EENVELOPE' && code !== 'EMESSAGE')) return undefined;
  return readReply(response, code === 'EMESSAGE' ? 'message' : (STEPS[command ?? ''] ?? 'DATA'));
}

const STEPS: Partial<Record<string, SmtpStep>> = { 'MAIL FROM': 'MAIL', 'RCPT TO': 'RCPT' };

/**
 * A relay that refuses one recipient for its own trouble, and takes others, defers that one. Who said it is told of what
 * was not sent alone: the ledger does not keep it, and a repeat is answered as the first post was.
 */
function verdictOf(
  { status, reason, ofRelay, isOurs }: SmtpReply & { isOurs?: boolean },
  mta: string,
): Omit<Verdict, 'recipient'> {
  const isSaid = !isOurs && !status.startsWith('2');
  return {
    status: ofRelay ? `4${status.slice(1)}` : status,
    reason,
    ...(isSaid && { remoteMta: mta }),
  };
}

/** Addresses that cannot be sent over this connection: each fails alone, and for a sender all do. */
function unfitAddresses(
  sender: string,
  recipients: readonly string[],
  extensions: ReadonlySet<string>,
): Map<string, Result> {
  const faultOf = (address: string) => {
    const fault = addressFault(address);
    if (fault !== undefined) return fault;
    if (/[\u0080-\uffff]/.test(address) && !extensions.has('SMTPUTF8')) return NO_SMTPUTF8;
    return undefined;
  };
  const ofSender = sender === '' ? undefined : faultOf(sender);
  const unfit = new Map<string, Result>();
  for (const recipient of recipients) {
    const fault = ofSender ?? faultOf(recipient);
    if (!fault) continue;
    const bad = ofSender ? statuses.badSender : statuses.badRecipient;
    const status = fault === NO_SMTPUTF8 ? statuses.noSmtpUtf8 : bad;
    unfit.set(recipient, { recipient, status, reason: ofSender ? `sender: ${fault}` : fault });
  }
  return unfit;
}

const NO_SMTPUTF8 = 'the relay does not offer SMTPUTF8, which this address needs';

/** The octets of the message as SMTP counts them, before dot-stuffing (RFC 1870 4). */
function sizeInCrlf(bytes: Buffer): number {
  let [size, previous] = [bytes.length, 0];
  // By index: an iterator takes six times as long, seconds for the largest message.
  for (let at = 0; at < bytes.length; at += 1) {
    const octet = bytes[at] ?? 0;
    if (octet === LF ? previous !== CR : previous === CR) size += 1;
    previous = octet;
  }
  return size + (previous === LF ? 0 : previous === CR ? 1 : 2);
}

const [CR, LF] = [0x0d, 0x0a];
