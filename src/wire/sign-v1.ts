import { createHmac, timingSafeEqual } from 'node:crypto';

/** Signs as in 2012: base64 of HMAC-SHA1 over the message's bytes. */
export function signV1(key: Buffer, message: Uint8Array): string {
  return createHmac('sha1', key).update(message).digest('base64');
}

/** Finds the key that made the signature; undefined when none did. Compares in constant time. */
export function verifyV1(
  keys: readonly Buffer[],
  signature: Buffer,
  message: Uint8Array,
): Buffer | undefined {
  // The clients of 2012 strip the line feed that their base64 adds; others may not.
  const given = Buffer.from(signature.toString('latin1').trim(), 'latin1');
  return keys.find((key) => {
    const expected = Buffer.from(signV1(key, message));
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}
