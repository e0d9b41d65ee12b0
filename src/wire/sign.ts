import { createHmac, timingSafeEqual } from 'node:crypto';
import { limits } from '../mail/limits.ts';

/** The headers of Standard Webhooks, on requests and answers alike. */
export const signatureHeaders = {
  id: 'webhook-id',
  timestamp: 'webhook-timestamp',
  signature: 'webhook-signature',
} as const;

/** What a signature covers: the message's id, Unix seconds, and the body as it is sent. */
export interface Signed {
  id: string;
  timestamp: string;
  /** The body in pieces, so that a large message need not be copied to be signed. */
  body: Iterable<Uint8Array>;
}

/** Signs as Standard Webhooks does, over bytes: `v1,` and base64 of HMAC-SHA256. */
export function sign(key: Buffer, { id, timestamp, body }: Signed): string {
  const hmac = createHmac('sha256', key).update(`${id}.${timestamp}.`);
  for (const piece of body) hmac.update(piece);
  return `v1,${hmac.digest('base64')}`;
}

/**
 * Finds the key that made one of the signatures in a webhook-signature header (several are separated
 * by spaces); undefined when none did. Compares in constant time.
 */
export function verify(
  keys: readonly Buffer[],
  signatures: string,
  signed: Signed,
): Buffer | undefined {
  const given = signatures
    .split(' ')
    .slice(0, limits.signatures)
    .map((text) => Buffer.from(text));
  return keys.find((key) => {
    const expected = Buffer.from(sign(key, signed));
    return given.some((each) => each.length === expected.length && timingSafeEqual(each, expected));
  });
}
