import type { Clock } from './clock.ts';

/**
 * A new id for a message: a UUID version 7 in hexadecimal, without dashes (RFC 9562, section 5.7). It begins with the wall
 * clock, so that ids that are made one after the other lie side by side in every index, in the spool and in the ledger.
 * A wrong clock costs only that order: 74 bits are random.
 */
export function newId(clock: Pick<Clock, 'wallNow' | 'randomBytes'>): string {
  const bytes = clock.randomBytes(16);
  bytes.writeUIntBE(Math.max(0, clock.wallNow()) % 2 ** 48, 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex');
}
