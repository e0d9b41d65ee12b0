import { setImmediate } from 'node:timers/promises';
import { limits } from '../../limits.ts';
import { FormError } from './form.ts';

/**
 * Decodes multipart/form-data (RFC 7578) to bytes, as decodeForm does the other encoding; files are fields
 * as well. Any body is searched once, and a bounded number of its octets is looked at more
 * closely: anybody can send one, and the signature is in it. Other work runs in between. Rejects with FormError.
 */
export async function decodeMultipart(
  contentType: string,
  body: Buffer,
): Promise<Map<string, Buffer>> {
  const delimiter = delimiterOf(contentType);
  const fields = new Map<string, Buffer>();
  let at = await startOfParts(body, delimiter);
  for (let count = 0; ; count += 1) {
    if (body.toString('latin1', at, at + 2) === '--') return fields;
    if (count === limits.formFields) {
      throw new FormError(`there are more than ${limits.formFields} form fields`);
    }
    const head = HEAD.exec(body.toString('latin1', at, at + limits.partHeadersBytes))?.[0];
    if (head === undefined) throw malformed('a part has no end of its headers, or too many');
    // The line end of empty headers may be that of an empty value.
    const end = await find(delimiter, body, at + head.length - 2);
    if (end < 0) throw malformed('it is cut short');
    const name = nameOf(head);
    if (name !== undefined && !fields.has(name)) {
      fields.set(name, body.subarray(Math.min(at + head.length, end), end));
    }
    at = end + delimiter.length;
  }
}

/** What separates the parts, but for the first, before which there may be no line end. */
function delimiterOf(contentType: string): Buffer {
  const [, quoted, token] = BOUNDARY.exec(contentType) ?? [];
  const boundary = quoted ?? token;
  if (!boundary) throw malformed('its type names no boundary');
  return Buffer.from(`\r\n--${boundary}`, 'latin1');
}

function nameOf(head: string): string | undefined {
  const [, quoted, token] = NAME.exec(head) ?? [];
  return quoted ?? token;
}

/** Skips the preamble (RFC 2046 5.1.1). Without one there is no line end before the first boundary. */
async function startOfParts(body: Buffer, delimiter: Buffer): Promise<number> {
  const opening = delimiter.subarray(2);
  if (body.subarray(0, opening.length).equals(opening)) return opening.length;
  const before = await find(delimiter, body, 0);
  if (before < 0) throw malformed('it does not have its boundary');
  return before + delimiter.length;
}

/** Where the delimiter is from there on, or -1. Other work runs in between. */
async function find(delimiter: Buffer, body: Buffer, from: number): Promise<number> {
  for (let at = from; at < body.length; at += limits.decodedAtOnceBytes) {
    if (at > from) await setImmediate();
    const slice = body.subarray(at, at + limits.decodedAtOnceBytes + delimiter.length - 1);
    const found = slice.indexOf(delimiter);
    if (found >= 0) return at + found;
  }
  return -1;
}

function malformed(why: string): FormError {
  return new FormError(`the form is malformed: ${why}`);
}

/** RFC 2046 5.1.1. */
const BOUNDARY = /;[ \t]*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i;

/** From behind a boundary to the empty line: the rest of that line, and the part's headers. */
const HEAD = /^[ \t]*\r\n(?:[^\r\n]+\r\n)*\r\n/;

const NAME =
  /^Content-Disposition:[ \t]*form-data(?:;[^;\r\n]*)*?;[ \t]*name=(?:"([^"\r\n]*)"|([^\s;"]+))/im;
