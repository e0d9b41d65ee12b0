import { setImmediate } from 'node:timers/promises';
import { limits } from '../../limits.ts';

/** A form that cannot be decoded; the message is one line for the client. */
export class FormError extends Error {
  override readonly name = 'FormError';
}

/**
 * Decodes application/x-www-form-urlencoded to bytes: the value of `msg` is signed as bytes and may be
 * of any charset, which URLSearchParams would destroy. If a field comes twice, the first counts, as on a
 * v1 server. The fields are views into the body, which is overwritten. Long forms let other work run in
 * between. Rejects with FormError.
 */
export async function decodeForm(body: Buffer): Promise<Map<string, Buffer>> {
  const fields = new Map<string, Buffer>();
  for (let at = 0, count = 1; at < body.length; count += 1) {
    if (count > limits.formFields)
      throw new FormError(`there are more than ${limits.formFields} form fields`);
    const ampersand = body.indexOf('&', at);
    const end = ampersand < 0 ? body.length : ampersand;
    const equals = body.subarray(at, end).indexOf('=');
    const name = body.subarray(at, equals < 0 ? end : at + equals);
    const value = equals < 0 ? Buffer.alloc(0) : body.subarray(at + equals + 1, end);
    const key = (await decode(name)).toString('latin1');
    if (!fields.has(key)) fields.set(key, await decode(value));
    at = end + 1;
  }
  return fields;
}

/**
 * Encodes fields as v1 clients do: unreserved characters as they are, space as `+`. Names are
 * latin1, as decodeForm gives them; a string as a value is UTF-8.
 */
export function encodeForm(fields: Record<string, Buffer | string>): Buffer {
  const parts = Object.entries(fields).map(([name, value]) => ({
    name: Buffer.from(name, 'latin1'),
    value: typeof value === 'string' ? Buffer.from(value) : value,
  }));
  const sizes = parts.map(({ name, value }) => encodedSize(name) + 1 + encodedSize(value) + 1);
  const form = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + size, 0));
  let length = 0;
  for (const { name, value } of parts) {
    length = encode(name, form, length);
    form[length] = EQUALS;
    length = encode(value, form, length + 1);
    form[length] = AMPERSAND;
    length += 1;
  }
  return form.subarray(0, -1);
}

/** Decodes in place. By index, and with tables of octets: anybody can send the largest body. */
async function decode(bytes: Buffer): Promise<Buffer> {
  let [at, length] = [0, 0];
  while (at < bytes.length) {
    if (at > 0) await setImmediate();
    const end = Math.min(at + limits.decodedAtOnceBytes, bytes.length);
    for (; at < end; at += 1) {
      const octet = bytes[at] ?? 0;
      if (octet === PERCENT) {
        const value = hexValue(bytes[at + 1]) * 16 + hexValue(bytes[at + 2]);
        if (value > 255) throw new FormError('a % in the form is not followed by two hex digits');
        bytes[length] = value;
        at += 2;
      } else {
        bytes[length] = octet === PLUS ? SPACE : octet;
      }
      length += 1;
    }
  }
  return bytes.subarray(0, length);
}

/** Writes into the form from there on, and returns where it ends. */
function encode(bytes: Buffer, form: Buffer, start: number): number {
  let length = start;
  for (let at = 0; at < bytes.length; at += 1) {
    const octet = bytes[at] ?? 0;
    if (UNRESERVED[octet]) {
      form[length] = octet === SPACE ? PLUS : octet;
      length += 1;
    } else {
      form[length] = PERCENT;
      form[length + 1] = HEX_DIGITS[octet >> 4] ?? 0;
      form[length + 2] = HEX_DIGITS[octet & 15] ?? 0;
      length += 3;
    }
  }
  return length;
}

function encodedSize(bytes: Buffer): number {
  let size = bytes.length;
  for (let at = 0; at < bytes.length; at += 1) {
    if (!UNRESERVED[bytes[at] ?? 0]) size += 2;
  }
  return size;
}

function hexValue(octet: number | undefined): number {
  return HEX_VALUES[octet ?? 0] ?? NO_DIGIT;
}

const PERCENT = 0x25;
const PLUS = 0x2b;
const SPACE = 0x20;
const AMPERSAND = 0x26;
const EQUALS = 0x3d;
/** Makes any value of two digits too large. */
const NO_DIGIT = 256;
const HEX_VALUES = Uint16Array.from({ length: 256 }, (_, octet) => {
  const character = String.fromCharCode(octet);
  return /[0-9a-fA-F]/.test(character) ? Number.parseInt(character, 16) : NO_DIGIT;
});
const HEX_DIGITS = Buffer.from('0123456789ABCDEF');
/** What takes one octet in the form; of these, space becomes `+`. */
const UNRESERVED = Uint8Array.from({ length: 256 }, (_, octet) =>
  /[0-9A-Za-z_. -]/.test(String.fromCharCode(octet)) ? 1 : 0,
);
