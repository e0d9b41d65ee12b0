import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import libmime from 'libmime';
import {
  MailParser,
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

/** The message has more of something than is read, or something that would be lost. */
export class MimeTrouble extends Error {}

/**
 * Takes a message apart. Throws MimeTrouble when it has too many parts, too long headers, or in a multipart
 * another one without parts, and whatever the signal aborts with: what is hostile takes until then at most.
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
    throw code === 'EMAXLEN' ? new MimeTrouble(tooMuch(message)) : error;
  }
  if (parser.hasEmptyMultipart()) {
    throw new MimeTrouble('a multipart in it has no parts, and what it has would be lost');
  }
  for (const at of parser.digested()) {
    const part = parts[at];
    if (part) part.type = 'message/rfc822';
  }
  return { subject: parser.subject ?? '', parts };
}

function tooMuch(said: string): string {
  return /header/i.test(said)
    ? `a part of it has a header larger than ${limits.headerBytes} bytes`
    : `it has more than ${limits.mimeParts} parts`;
}

/** Gives every part by itself: mailparser would join all texts into one. */
class PartsParser extends MailParser {
  // These two are no part of mailparser's documented interface; the tests' corpus holds them.
  /** The types that it joins. */
  protected readonly textTypes: readonly string[] = [];
  /** The whole message, once it is parsed. */
  declare protected readonly tree?: MimeNode;

  /** Whether there is a multipart inside the message whose content is in none of its parts. */
  hasEmptyMultipart(): boolean {
    return this.#leaves().some(
      ({ contentType, parent }) => parent && contentType && contentType.startsWith('multipart/'),
    );
  }

  /** Which of the parts are messages because a digest has them and they say nothing (RFC 2046 5.1.5). */
  digested(): number[] {
    return this.#leaves().flatMap(({ headers, parent }, at) =>
      parent?.contentType === 'multipart/digest' && !headers.has('content-type') ? [at] : [],
    );
  }

  /** In their order. */
  #leaves(): MimeNode[] {
    const leaves: MimeNode[] = [];
    const nodes = this.tree ? [this.tree] : [];
    for (let node = nodes.pop(); node; node = nodes.pop()) {
      if (node.children.length === 0) leaves.push(node);
      nodes.push(...node.children.toReversed());
    }
    return leaves;
  }
}

interface MimeNode {
  contentType: string | false;
  headers: ReadonlyMap<string, unknown>;
  parent?: MimeNode;
  children: readonly MimeNode[];
}

async function readPart(part: AttachmentStream): Promise<MimePart> {
  const content: Buffer[] = [];
  for await (const piece of part.content as AsyncIterable<Buffer>) content.push(piece);
  part.release?.();
  const header = (part.headers.get('content-type') ?? {}) as Partial<StructuredHeader>;
  const fileName = part.filename || undefined;
  return {
    // As the part itself says: mailparser goes by the name where it says application/octet-stream.
    type: header.value?.toLowerCase() || part.contentType || (fileName ? OCTETS : 'text/plain'),
    charset: header.params?.['charset'],
    isAttachment: (part.contentDisposition ?? 'inline') !== 'inline',
    fileName,
    contentId: part.contentId || undefined,
    content: Buffer.concat(content),
  };
}

const OCTETS = 'application/octet-stream';

/**
 * The text of a part, in LF. Octets that are not of its charset become U+FFFD. What is said to be ASCII or
 * UTF-8, nothing at all or what nobody knows, and is not UTF-8 anywhere, is read as windows-1252.
 */
export async function textOf({
  charset = 'utf-8',
  content,
}: Pick<MimePart, 'charset' | 'content'>): Promise<string> {
  const decoder = libmime.createDecodeStream(charset);
  const isNamed = decoder.supported && !UNICODE.test(charset);
  const decoded = isNamed
    ? await text(Readable.from(pieces(content)).pipe(decoder))
    : utf8(content);
  return (decoded ?? (await textOf({ charset: 'windows-1252', content }))).replace(/\r\n?/g, '\n');
}

const UNICODE = /^(?:us-?)?ascii$|^ansi_x3|^utf-?8$/i;

/** UTF-8, with faults also, but not what has no character of UTF-8 beside them. */
function utf8(octets: Buffer): string | undefined {
  const decoded = new TextDecoder().decode(octets);
  return /[^\0-\x7f\ufffd]/.test(decoded) || !decoded.includes('\ufffd') ? decoded : undefined;
}
