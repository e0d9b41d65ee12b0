import { isAscii } from 'node:buffer';
import type { SMTPError } from 'nodemailer/lib/smtp-connection';
import type { SmtpSent } from '../../../host/net/smtp-client.ts';
import { addressFault } from '../../../mail/address-fault.ts';
import { asDeferred, statuses } from '../../../mail/enhanced-status.ts';
import type { Verdict } from '../../../wire/verdicts.ts';
import type { Delivery, Result } from '../backend.ts';
import { inCrlf } from '../in-crlf.ts';
import { readReply, type SmtpReply, type SmtpStep } from './read-reply.ts';
import { smtpErrorText } from './smtp-error-text.ts';
import type { SmtpSession } from './smtp-sessions.ts';
import { transactionOutcome } from './transaction-outcome.ts';

/** What came of a transaction; see TransactionOutcome. `reset`: the session still has the envelope. */
export type Transaction = { reset: boolean } & (
  | { kind: 'answered'; results: Result[] }
  | { kind: 'unavailable' | 'stale' | 'unknown'; text: string; throttledMs?: number | undefined }
);

/** Sends a message to the relay, which the verdicts call `mta`. Never rejects. */
export async function transact(
  { client, used, wasIdle }: SmtpSession,
  { sender, recipients, bytes }: Delivery,
  mta: string,
): Promise<Transaction> {
  const unfit = unfitAddresses(sender, recipients, client.extensions);
  const to = recipients.filter((recipient) => !unfit.has(recipient));
  if (to.length === 0) return { reset: false, kind: 'answered', results: [...unfit.values()] };

  // The size is counted before dot-stuffing (RFC 1870 4).
  const message = inCrlf(bytes);
  const envelope = { from: sender, to, size: message.length, use8BitMime: !isAscii(bytes) };
  const { ended, rejected, stage } = await client.send(envelope, message);
  const { final, text } = readEnd(ended);
  const refused = new Map(
    rejected.map(({ recipient = '', response = '' }) => [recipient, readReply(response, 'RCPT')]),
  );
  const reset = final !== undefined && stage !== 'whole';
  const replies = [final, ...refused.values()].filter((reply) => reply !== undefined);
  const ofRelay = replies.find((reply) => reply.ofRelay);
  const isReused = used > 0 || wasIdle;
  const outcome = transactionOutcome({ stage, final, isOfRelay: !!ofRelay, isReused });
  if (outcome.kind === 'unknown') return { reset, kind: 'unknown', text };
  if (outcome.kind !== 'answered') {
    const { reason = text, throttledMs } = ofRelay ?? {};
    return { reset, kind: outcome.kind, text: reason, throttledMs };
  }
  const results = to.map((recipient) => ({
    recipient,
    ...verdictOf(refused.get(recipient) ?? outcome.final, mta),
  }));
  return { reset, kind: 'answered', results: [...unfit.values(), ...results] };
}

/** The reply to the whole message, undefined when there is none, and a text for people in either case. */
function readEnd(ended: SmtpSent['ended']): { final: SmtpReply | undefined; text: string } {
  return ended instanceof Error
    ? { final: finalReply(ended), text: smtpErrorText(ended) }
    : { final: readReply(ended.response, 'message'), text: ended.response };
}

/** The reply to a message that was not taken, of the relay or of nodemailer itself; undefined when there is none. */
function finalReply({ code, command, response, message }: SMTPError): SmtpReply | undefined {
  // nodemailer knows the largest size that the server has announced (RFC 1870).
  if (code === 'EMESSAGE' && !response) {
    return { status: statuses.tooLarge, reason: message, ofRelay: false, isOurs: true };
  }
  if (!response || (code !== 'EENVELOPE' && code !== 'EMESSAGE')) return undefined;
  return readReply(response, code === 'EMESSAGE' ? 'message' : (STEPS[command ?? ''] ?? 'DATA'));
}

const STEPS: Partial<Record<string, SmtpStep>> = { 'MAIL FROM': 'MAIL', 'RCPT TO': 'RCPT' };

/**
 * A relay that refuses one recipient for its own trouble, and takes others, defers that one. The verdict names the relay
 * only where the message was not sent: the ledger does not record it, and a repeated post has to get the same answer.
 */
function verdictOf(
  { status, reason, ofRelay, isOurs }: SmtpReply,
  mta: string,
): Omit<Verdict, 'recipient'> {
  const isSaid = !isOurs && !status.startsWith('2');
  return {
    status: ofRelay ? asDeferred(status) : status,
    reason,
    ...(isSaid && { remoteMta: mta }),
  };
}

/** The recipients that cannot be sent over this connection: each fails alone; all fail if the sender cannot be sent. */
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
