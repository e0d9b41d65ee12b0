import type { Envelope } from '../../mail/envelope.ts';
import { headerSize, headerValues, lineEndOf, parseHeaders } from '../../mail/headers.ts';
import { limits } from '../../limits.ts';
import { printable } from '../../mail/printable.ts';
import { withoutBcc } from '../../mail/without-bcc.ts';
import { crowdedAddress } from '../crowded-address.ts';
import { headerAddresses } from '../header-addresses.ts';
import { NO_SENDER } from '../no-sender.ts';

/** A message that HTTP v1 cannot send; the message is one line for the client. */
export class InvalidMailError extends Error {
  override readonly name = 'InvalidMailError';
}

/**
 * Reads the envelope of a message of HTTP v1 from its headers: the sender is the first of From, the
 * recipients are those of every To, Cc and Bcc. The bytes are the message without Bcc, Resent-Bcc and the
 * `From ` line of a mailbox, whose address is the sender only when there is no From; where there is none at all
 * it is NO_SENDER, if the default sender is asked for (`fixSender`). The header ends where a v1 server
 * ends it: a line that is no field begins the body, and an empty line is put there. Throws InvalidMailError.
 */
export function readMail(
  posted: Buffer,
  recipientsMax: number,
  fixSender: boolean,
): { envelope: Envelope; bytes: Buffer } {
  const [unixFrom, unixSender] = UNIX_FROM.exec(posted.toString('latin1', 0, 1024)) ?? [''];
  const whole = posted.subarray(unixFrom.length);
  if (whole.length > limits.messageBytes) {
    throw new InvalidMailError(`the message is larger than ${limits.messageBytes} bytes`);
  }
  if (headerSize(whole) > limits.headerBytes) {
    throw new InvalidMailError(`the header section is larger than ${limits.headerBytes} bytes`);
  }
  const message = withEmptyLine(whole);
  const headers = parseHeaders(message);
  const from = headerValues(message, headers, 'from');
  const [named] = from.length > 0 ? headerAddresses(from) : [unixSender];
  const sender = named || (fixSender ? NO_SENDER : undefined);
  if (sender === undefined) throw new InvalidMailError('No sender specified');
  const fields = headerValues(message, headers, 'to', 'cc', 'bcc');
  const crowded = crowdedAddress(fields);
  if (crowded !== undefined) throw new InvalidMailError(`'${printable(crowded)}' is no address`);
  const recipients = headerAddresses(fields);
  if (recipients.length === 0) throw new InvalidMailError('No destination addresses specified');
  if (recipients.length > recipientsMax) {
    throw new InvalidMailError(`there are more than ${recipientsMax} recipients`);
  }
  return { envelope: { sender, recipients }, bytes: withoutBcc(message) };
}

/** The message with an empty line before the first line that is no field, or at the end of a header alone. */
function withEmptyLine(message: Buffer): Buffer {
  const { fields, bodyAt } = parseHeaders(message);
  const stray = fields.find(({ name }) => name === '')?.start;
  if (stray === undefined && bodyAt !== undefined) return message;
  const at = stray ?? message.length;
  const lineEnd = lineEndOf(message);
  const isLine = at === 0 || message[at - 1] === LF;
  return Buffer.concat([
    message.subarray(0, at),
    Buffer.from(isLine ? lineEnd : lineEnd + lineEnd),
    message.subarray(at),
  ]);
}

const LF = 0x0a;

/** The first line of a message in a mailbox (mbox); a header field has a colon there. */
const UNIX_FROM = /^From (?![ \t]*:)([^\s]*)[^\n]*\n/;
