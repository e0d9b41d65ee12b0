import { headerSize, lineEndOf, parseHeaders } from '../../mail/headers.ts';
import { limits } from '../../limits.ts';

/**
 * Prepares a message for a v1 server, which takes the recipients from the headers: returns the message for
 * a recipient, who is its first To. The To and Cc of the message are kept as X-Original-To and
 * X-Original-Cc; Bcc and Resent-* are removed. All other bytes stay as they are. Throws an Error when the
 * header section is too large.
 */
export function messageV1(message: Buffer): (recipient: string) => Buffer {
  if (headerSize(message) > limits.headerBytes) {
    throw new Error(`its header section is larger than ${limits.headerBytes} bytes`);
  }
  const pieces: Buffer[] = [];
  let kept = 0;
  for (const { name, start, end } of parseHeaders(message).fields) {
    const isOriginal = name === 'to' || name === 'cc';
    if (!isOriginal && name !== 'bcc' && !name.startsWith('resent-')) continue;
    pieces.push(message.subarray(kept, start));
    if (isOriginal) pieces.push(ORIGINAL);
    kept = isOriginal ? start : end;
  }
  const common = Buffer.concat([...pieces, message.subarray(kept)]);
  const lineEnd = lineEndOf(message);
  return (recipient) => Buffer.concat([Buffer.from(`To: ${recipient}${lineEnd}`), common]);
}

const ORIGINAL = Buffer.from('X-Original-');
