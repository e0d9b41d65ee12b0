import { statuses } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { headerValues, parseHeaders } from '../mail/headers.ts';
import { limits } from '../limits.ts';
import { withoutBcc } from '../mail/without-bcc.ts';
import { crowdedAddress } from '../wire/crowded-address.ts';
import { headerAddresses } from '../wire/header-addresses.ts';
import { NO_SENDER } from '../wire/no-sender.ts';
import { MessageSendingFailure } from './message-sending-failure.ts';

/** A message that can be posted. */
export interface Prepared {
  envelope: Envelope;
  bytes: Buffer;
}

/**
 * Completes the envelope from the headers, which may name no sender when the default sender is asked for
 * (`fixSender`), and removes the Bcc, which the other recipients must not see. Throws
 * MessageSendingFailure for a message that is from or for nobody, or too large, and a TypeError for an
 * envelope that is not valid.
 */
export function prepare(
  message: string | Uint8Array,
  given: Partial<Envelope>,
  fixSender = false,
): Prepared {
  requireStrings(given);
  const whole = Buffer.from(message);
  const headers = parseHeaders(whole);
  const values = (...names: string[]) => headerValues(whole, headers, ...names);
  const named = headerAddresses(values('from'))[0] ?? (fixSender ? NO_SENDER : undefined);
  const sender = given.sender ?? named;
  const recipients = given.recipients ?? recipientsIn(values('to', 'cc', 'bcc'));
  if (sender === undefined) {
    throw refused(statuses.badSender, 'the message has no From, and no sender was given');
  }
  if (recipients.length === 0) {
    throw refused(statuses.badRecipient, 'the message has no To, Cc or Bcc, and nobody was named');
  }
  const envelope = { sender, recipients: [...new Set(recipients)] };
  if (envelope.recipients.length > limits.handOverRecipients) {
    const reason = `the message has more than ${limits.handOverRecipients} recipients`;
    throw refused(statuses.tooManyRecipients, reason);
  }
  const bytes = withoutBcc(whole);
  if (bytes.length > limits.messageBytes) {
    throw refused(statuses.tooLarge, `the message is larger than ${limits.messageBytes} bytes`);
  }
  return { envelope, bytes };
}

/** The addresses in the values of To and the like. Throws MessageSendingFailure for one with words behind it. */
export function recipientsIn(values: readonly string[]): string[] {
  const crowded = crowdedAddress(values);
  if (crowded !== undefined) throw refused(statuses.badRecipient, `'${crowded}' is no address`);
  return headerAddresses(values);
}

/** For callers without types. */
function requireStrings({ sender = '', recipients = [] }: { [K in keyof Envelope]?: unknown }) {
  if (typeof sender !== 'string') throw new TypeError('sender is not a string');
  if (!Array.isArray(recipients) || !recipients.every((each) => typeof each === 'string')) {
    throw new TypeError('recipients is not an array of strings');
  }
}

function refused(status: string, reason: string): MessageSendingFailure {
  return new MessageSendingFailure([{ recipient: '', status, reason }]);
}
