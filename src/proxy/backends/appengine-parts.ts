import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  MailParser,
  simpleParser,
  type AttachmentStream,
  type MessageText,
  type StructuredHeader,
} from 'mailparser';
import { limits } from '../../mail/limits.ts';
import { pieces } from './pieces.ts';

/** A part of a message that is no multipart, transfer encoding undone. */
export interface MimePart {
  /** In lower case. */
  type: string;
  charset: string | undefined;
  /** As its Content-Disposition says. */
  isAttachment: boolean;
  /** RFC 2047 and RFC 2231 decoded. */
  fileName: string | undefined;
  contentId: string | undefined;
  content: Buffer;
}

/** What mailparser finds in a message. */
export interface ParsedMime {
  /** Decoded. */
  subject: string;
  /** In their order; an attached message is one part. */
  parts: MimePart[];
}

/** The message has more of something than is read. */
export class MimeTooMuch extends Error {}

/**
 * Takes a message apart. Throws MimeTooMuch when it has too many parts or too long headers, and whatever
 * the signal aborts with: what is hostile takes until then at most.
 */
export async function parseMime(message: Buffer, giveUp: AbortSignal): Promise<ParsedMime> {
  const parser = new PartsParser({
    ignoreEmbedded: true,
    checksumAlgo: false,
    maxHeadSize: limits.headerBytes,
    maxChildNodes: limits.mimeParts,
  });
  const parts: MimePart[] = [];
  const collect = async () => {
    for await (const part of parser as AsyncIterable<AttachmentStream | MessageText>) {
      if (part.type === 'attachment') parts.push(await readPart(part));
    }
  };
  try {
    const source = Readable.from(pieces(message));
    await Promise.all([pipeline(source, parser, { signal: giveUp }), collect()]);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === 'EMAXLEN' ? new MimeTooMuch(message) : error;
  }
  return { subject: parser.subject ?? '', parts };
}

/** Gives every part by itself: mailparser would join all texts into one. */
class PartsParser extends MailParser {
  /** The types that it joins. This is no part of its documented interface; the tests' corpus holds it. */
  protected readonly textTypes: readonly string[] = [];
}

async function readPart(part: AttachmentStream): Promise<MimePart> {
  const content: Buffer[] = [];
  for await (const piece of part.content as AsyncIterable<Buffer>) content.push(piece);
  part.release?.();
  const { params } = (part.headers.get('content-type') ?? {}) as Partial<StructuredHeader>;
  return {
    type: part.contentType,
    charset: params?.['charset'],
    isAttachment: (part.contentDisposition ?? 'inline') !== 'inline',
    fileName: part.filename || undefined,
    contentId: part.contentId || undefined,
    content: Buffer.concat(content),
  };
}

/**
 * The text of a part, in LF. Octets that are not of its charset, or of one that is not known, are read as
 * UTF-8, or else as windows-1252.
 */
export function textOf({ charset = 'us-ascii', content }: MimePart): string {
  const named = /^(?:us-)?ascii$/i.test(charset) ? 'utf-8' : charset;
  return (decode(named, content) ?? decode('utf-8', content) ?? decodeWestern(content)).replace(
    /\r\n?/g,
    '\n',
  );
}

function decode(charset: string, octets: Buffer): string | undefined {
  try {
    return new TextDecoder(charset, { fatal: true }).decode(octets);
  } catch {
    return undefined;
  }
}

function decodeWestern(octets: Buffer): string {
  return new TextDecoder('windows-1252').decode(octets);
}

/** HTML as text, for readers that show no HTML; empty when it is too long or too deep to be read. */
export async function htmlAsText(html: string): Promise<string> {
  const message = `Content-Type: text/html; charset=utf-8\n\n${html}`;
  const options = { maxHtmlLengthToParse: limits.htmlTextChars, skipTextToHtml: true };
  const { text = '' } = await simpleParser(message, options);
  return text;
}
