import { createHmac, timingSafeEqual } from 'node:crypto';
import { Turns } from '../turns.ts';

/** Signs as HTTP v1 does: base64 of HMAC-SHA1 over the message's bytes. */
export function signV1(key: Buffer, message: Uint8Array): string {
  return createHmac('sha1', key).update(message).digest('base64');
}

/**
 * Finds the key that made the signature; undefined when none did. Compares in constant time. Other work runs
 * while a large message is hashed with every key.
 */
export async function verifyV1(
  keys: readonly Buffer[],
  signature: Buffer,
  message: Uint8Array,
): Promise<Buffer | undefined> {
  // v1 clients strip the line feed that Python's base64 adds; others may not.
  const given = Buffer.from(signature.toString('latin1').trim(), 'latin1');
  if (given.length !== BASE64_CHARS) return undefined;
  const turns = new Turns();
  for (const key of keys) {
    const hmac = createHmac('sha1', key);
    for await (const slice of turns.slices(message)) hmac.update(slice);
    if (timingSafeEqual(given, Buffer.from(hmac.digest('base64')))) return key;
  }
  return undefined;
}

/** Of 20 octets. */
const BASE64_CHARS = 28;
