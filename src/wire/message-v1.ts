import { editHeaders, parseHeaders, type HeaderField } from '../mail/headers.ts';

/**
 * The message as an original server gets it for one recipient: such a server takes the recipients from
 * the headers, the first To before all. What the message has as To and Cc is kept as X-Original-To and
 * X-Original-Cc; Bcc and Resent-* are removed. All other bytes stay as they are.
 */
export function messageV1(message: Buffer, recipient: string): Buffer {
  const pieces: Buffer[] = [];
  let kept = 0;
  for (const { name, start } of parseHeaders(message).fields) {
    if (name !== 'to' && name !== 'cc') continue;
    pieces.push(message.subarray(kept, start), ORIGINAL);
    kept = start;
  }
  const renamed = Buffer.concat([...pieces, message.subarray(kept)]);
  return editHeaders(renamed, parseHeaders(renamed), isRemoved, [`To: ${recipient}`]);
}

function isRemoved({ name }: HeaderField): boolean {
  return name === 'bcc' || name.startsWith('resent-');
}

const ORIGINAL = Buffer.from('X-Original-');
