import { limits } from '../mail/limits.ts';

/** A form that cannot be decoded; the message is one line for the client. */
export class FormError extends Error {}

/**
 * Decodes application/x-www-form-urlencoded to bytes: the value of `msg` is signed as bytes and may be
 * of any charset, which URLSearchParams would destroy. Of a field that comes twice the first counts,
 * as in 2012. Throws FormError.
 */
export function decodeForm(body: Buffer): Map<string, Buffer> {
  const fields = new Map<string, Buffer>();
  for (let at = 0, count = 1; at < body.length; count += 1) {
    if (count > limits.formFields)
      throw new FormError(`there are more than ${limits.formFields} form fields`);
    const ampersand = body.indexOf('&', at);
    const end = ampersand < 0 ? body.length : ampersand;
    const equals = body.subarray(at, end).indexOf('=');
    const name = body.subarray(at, equals < 0 ? end : at + equals);
    const value = equals < 0 ? Buffer.alloc(0) : body.subarray(at + equals + 1, end);
    const key = decode(name).toString('latin1');
    if (!fields.has(key)) fields.set(key, decode(value));
    at = end + 1;
  }
  return fields;
}

/**
 * Encodes fields as the clients of 2012 do: unreserved characters as they are, space as `+`. Names are
 * latin1, as decodeForm gives them; a string as a value is UTF-8.
 */
export function encodeForm(fields: Record<string, Buffer | string>): Buffer {
  const pairs = Object.entries(fields).flatMap(([name, value]) => [
    AMPERSAND,
    encode(Buffer.from(name, 'latin1')),
    EQUALS,
    encode(Buffer.from(value)),
  ]);
  return Buffer.concat(pairs.slice(1));
}

function decode(encoded: Buffer): Buffer {
  const decoded = Buffer.allocUnsafe(encoded.length);
  let length = 0;
  for (let at = 0; at < encoded.length; at += 1) {
    const octet = encoded[at];
    if (octet === PERCENT) {
      const value = hexValue(encoded[at + 1]) * 16 + hexValue(encoded[at + 2]);
      if (Number.isNaN(value))
        throw new FormError('a % in the form is not followed by two hex digits');
      decoded[length] = value;
      at += 2;
    } else {
      decoded[length] = octet === PLUS ? SPACE : (octet ?? 0);
    }
    length += 1;
  }
  return decoded.subarray(0, length);
}

function encode(bytes: Buffer): Buffer {
  const encoded = Buffer.allocUnsafe(bytes.length * 3);
  let length = 0;
  for (const octet of bytes) {
    if (UNRESERVED[octet]) {
      encoded[length] = octet === SPACE ? PLUS : octet;
      length += 1;
    } else {
      encoded[length] = PERCENT;
      encoded[length + 1] = HEX_DIGITS[octet >> 4] ?? 0;
      encoded[length + 2] = HEX_DIGITS[octet & 15] ?? 0;
      length += 3;
    }
  }
  return encoded.subarray(0, length);
}

function hexValue(octet: number | undefined): number {
  return octet === undefined ? NaN : (HEX_VALUES[octet] ?? NaN);
}

const PERCENT = 0x25;
const PLUS = 0x2b;
const SPACE = 0x20;
const HEX_VALUES = Array.from({ length: 256 }, (_, octet) => {
  const character = String.fromCharCode(octet);
  return /[0-9a-fA-F]/.test(character) ? Number.parseInt(character, 16) : NaN;
});
const HEX_DIGITS = Buffer.from('0123456789ABCDEF');
/** What takes one octet in the form; of these, space becomes `+`. */
const UNRESERVED = Array.from({ length: 256 }, (_, octet) =>
  /[0-9A-Za-z_. -]/.test(String.fromCharCode(octet)),
);
const AMPERSAND = Buffer.from('&');
const EQUALS = Buffer.from('=');
