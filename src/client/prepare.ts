import { statuses } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { headerValues, parseHeaders } from '../mail/headers.ts';
import { withoutBcc } from '../mail/without-bcc.ts';
import { headerAddresses } from '../wire/header-addresses.ts';
import { MessageSendingFailure } from './message-sending-failure.ts';

/** A message that can be posted. */
export interface Prepared {
  envelope: Envelope;
  bytes: Buffer;
}

/**
 * Completes the envelope from the headers and removes the Bcc, which is nobody's business. Throws
 * MessageSendingFailure for a message that is from or for nobody.
 */
export function prepare(message: string | Uint8Array, given: Partial<Envelope>): Prepared {
  const whole = Buffer.from(message);
  const headers = parseHeaders(whole);
  const addresses = (...names: string[]) => headerAddresses(headerValues(whole, headers, ...names));
  const sender = given.sender ?? addresses('from')[0];
  const recipients = given.recipients ?? addresses('to', 'cc', 'bcc');
  if (sender === undefined) {
    throw refused(statuses.badSender, 'the message has no From, and no sender was given');
  }
  if (recipients.length === 0) {
    throw refused(statuses.badRecipient, 'the message has no To, Cc or Bcc, and nobody was named');
  }
  return {
    envelope: { sender, recipients: [...new Set(recipients)] },
    bytes: withoutBcc(whole),
  };
}

function refused(status: string, reason: string): MessageSendingFailure {
  return new MessageSendingFailure([{ recipient: '', status, reason }]);
}
