import { isAscii, isUtf8 } from 'node:buffer';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import libmime from 'libmime';
import { pieces } from '../../../host/pieces.ts';
import { limits } from '../../../limits.ts';
import type { MimePart } from './parse-mime.ts';

/**
 * The text of a part, with LF as line end. Octets that are not of its charset become U+FFFD. Where the charset is ASCII,
 * UTF-8, missing or unknown, it is guessed from the octets; HTML may name it in a meta element.
 */
export async function textOf({
  type,
  charset,
  content,
}: Pick<MimePart, 'type' | 'charset' | 'content'>): Promise<string> {
  const read = isNamed(charset)
    ? charset
    : charsetOf(content, type === 'text/html' ? metaCharset(content) : undefined);
  const decoded =
    read === undefined
      ? new TextDecoder().decode(content)
      : await text(Readable.from(pieces(content)).pipe(libmime.createDecodeStream(read)));
  return decoded.replace(/\r\n?/g, '\n');
}

/**
 * The text of a header field's octets: UTF-8 where they are, else in the charset that the rest of the message
 * names, if it names one.
 */
export function headerText(octets: Buffer, charset: string | undefined): string {
  const read = charsetOf(octets, charset);
  // The decoder of encoded words is the only one of libmime that does not need a stream.
  return read === undefined
    ? new TextDecoder().decode(octets)
    : libmime.decodeWord(read, 'B', octets.toString('base64'));
}

/** Whether a charset is known, and is neither ASCII nor UTF-8. */
export function isNamed(charset: string | undefined): charset is string {
  if (charset === undefined || UNICODE.test(charset.replace(/[^\da-z]/gi, ''))) return false;
  return libmime.createDecodeStream(charset).supported;
}

const UNICODE = /^$|^(?:us)?ascii$|^ansix3|^utf8$/i;

/** The charset that octets without a charset seem to have; undefined for UTF-8, also with a few faults. */
function charsetOf(octets: Buffer, guess: string | undefined): string | undefined {
  if (isAscii(octets))
    return ISO_2022_JP.some((each) => octets.includes(each)) ? 'iso-2022-jp' : undefined;
  if (isUtf8(octets)) return undefined;
  if (isNamed(guess)) return guess;
  return /[^\0-\x7f\ufffd]/.test(new TextDecoder().decode(octets)) ? undefined : 'windows-1252';
}

/** The escape sequences for other character sets (RFC 1468). */
const ISO_2022_JP = ['$@', '$B', '(J', '(I', '$(D'].map((end) => `\x1b${end}`);

/** A meta element that names UTF-16 is wrong: it would not have been found in UTF-16. */
function metaCharset(html: Buffer): string | undefined {
  const [, charset] = META.exec(html.toString('latin1', 0, limits.htmlMetaBytes)) ?? [];
  return charset && !/^utf-?(?:16|32)/i.test(charset) ? charset : undefined;
}

const META = /<meta\s[^>]*?charset\s*=\s*["']?\s*([\w:.+-]+)/i;
