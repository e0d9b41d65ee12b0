import { decodeAddress, encodeAddress } from '../mail/address.ts';

/** An object of JSON, of which nothing is known yet. */
export type Fields = Record<string, unknown>;

/** What each field has to be. */
export type FieldChecks<T> = Record<keyof T, (value: unknown) => boolean>;

/** Whether every field is what it has to be; others may be there as well. */
export function haveFields<T extends object>(
  fields: Fields,
  checks: FieldChecks<T>,
): fields is Fields & T {
  const each = Object.entries<(value: unknown) => boolean>(checks);
  return each.every(([name, isValid]) => isValid(fields[name]));
}

export function isMatch(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Whether decodeAddress can have made it of octets in a line of an envelope. */
export function isAddress(value: unknown): value is string {
  if (typeof value !== 'string' || value.includes('\n')) return false;
  return decodeAddress(encodeAddress(value)) === value;
}

/** Of a message, or of a file with messages. */
export const ID = /^[0-9a-f]{32}$/;
export const EXIM_ID = /^[0-9A-Za-z-]{1,64}$/;
/** SHA-256 in hex. */
export const DIGEST = /^[0-9a-f]{64}$/;
