import type { Envelope } from '../mail/envelope.ts';
import { headerSize, headerValues, parseHeaders } from '../mail/headers.ts';
import { limits } from '../mail/limits.ts';
import { withoutBcc } from '../mail/without-bcc.ts';
import { headerAddresses } from '../wire/header-addresses.ts';

/** A message that HTTP v1 cannot send; the message is one line for the client. */
export class MailFault extends Error {}

/**
 * Reads the envelope of a message of HTTP v1 from its headers: the sender is the first of From, the
 * recipients are those of every To, Cc and Bcc. The bytes are the message without Bcc, Resent-Bcc and the
 * `From ` line of a mailbox, whose address is the sender only when there is no From. Throws MailFault.
 */
export function readMail(
  posted: Buffer,
  recipientsMax: number,
): { envelope: Envelope; bytes: Buffer } {
  const [unixFrom, unixSender] = UNIX_FROM.exec(posted.toString('latin1', 0, 1024)) ?? [''];
  const message = posted.subarray(unixFrom.length);
  if (message.length > limits.messageBytes) {
    throw new MailFault(`the message is larger than ${limits.messageBytes} bytes`);
  }
  if (headerSize(message) > limits.headerBytes) {
    throw new MailFault(`the header section is larger than ${limits.headerBytes} bytes`);
  }
  const headers = parseHeaders(message);
  const from = headerValues(message, headers, 'from');
  const [sender] = from.length > 0 ? headerAddresses(from) : [unixSender];
  if (!sender) throw new MailFault('No sender specified');
  const recipients = headerAddresses(headerValues(message, headers, 'to', 'cc', 'bcc'));
  if (recipients.length === 0) throw new MailFault('No destination addresses specified');
  if (recipients.length > recipientsMax) {
    throw new MailFault(`there are more than ${recipientsMax} recipients`);
  }
  if (headers.bodyAt === undefined) throw new MailFault('No message body specified');
  return { envelope: { sender, recipients }, bytes: withoutBcc(message) };
}

/** The first line of a message in a mailbox (mbox); a header field has a colon there. */
const UNIX_FROM = /^From (?![ \t]*:)([^\s]*)[^\n]*\n/;
