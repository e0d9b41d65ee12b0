import { editHeaders, headerSize, parseHeaders } from './headers.ts';

/**
 * The message without Bcc and Resent-Bcc. SMTP will make a line end of a CR alone: where that would make a
 * Bcc of the rest of another field, this rest is removed too.
 */
export function withoutBcc(message: Buffer): Buffer {
  const blind = parseHeaders(message).fields.filter(({ name }) => BLIND.has(name));
  const visible = editHeaders(message, blind);
  const bodyAt = headerSize(visible);
  const section = visible.toString('latin1', 0, bodyAt);
  const clean = section.replace(HIDDEN, '');
  if (clean === section) return visible;
  return Buffer.concat([Buffer.from(clean, 'latin1'), visible.subarray(bodyAt)]);
}

const BLIND = new Set(['bcc', 'resent-bcc']);
/** To the end of the field that it is in. */
const HIDDEN = /\r(?:resent-)?bcc[ \t]*:[^]*?(?=\r?\n(?![ \t])|$)/gi;
