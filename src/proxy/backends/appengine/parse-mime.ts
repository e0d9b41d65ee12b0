import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  MailParser,
  type AttachmentStream,
  type MessageText,
  type StructuredHeader,
} from 'mailparser';
import { pieces } from '../../../host/pieces.ts';
import { limits } from '../../../limits.ts';

/** A part of a message that is no multipart, transfer encoding undone. */
export interface MimePart {
  /** In lower case. */
  type: string;
  charset?: string | undefined;
  /** As its Content-Disposition says. */
  isAttachment: boolean;
  /** The outermost multipart/alternative that it is in: one object for all in it. */
  alternative?: object | undefined;
  /** RFC 2047 and RFC 2231 decoded. */
  fileName?: string | undefined;
  contentId?: string | undefined;
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
export class MimeError extends Error {}

/**
 * Takes a message apart that was repaired (`repairMime`); `body` is its body as it came. Where a multipart has no
 * parts, so that nothing of it is lost, the body is a text when there are no parts at all, and else the message
 * itself is attached. Throws MimeTrouble when it has too many parts or too long headers. Some messages take minutes.
 */
export async function parseMime(message: Buffer, body: Buffer): Promise<ParsedMime> {
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
    await Promise.all([pipeline(source, parser), collect()]);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === 'EMAXLEN' ? new MimeError(tooMuch(message)) : error;
  }
  const leaves = parser.leaves();
  const places = leaves.filter((leaf) => !isMultipart(leaf));
  for (const [index, part] of parts.entries()) Object.assign(part, placeOf(places[index]));
  if (places.length < leaves.length) {
    parts.push(
      parts.length === 0
        ? { type: 'text/plain', isAttachment: false, content: body }
        : { type: MESSAGE, isAttachment: true, content: message },
    );
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

  /** Nodes without children, in their order: parts, and multiparts that have none. */
  leaves(): MimeNode[] {
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

function isMultipart({ contentType }: MimeNode): boolean {
  return contentType !== false && contentType.startsWith('multipart/');
}

/** What a part is because of where it is. */
function placeOf(node: MimeNode | undefined): Partial<MimePart> {
  const above: MimeNode[] = [];
  for (let parent = node?.parent; parent; parent = parent.parent) above.push(parent);
  const alternative = above.findLast(({ contentType }) => contentType === 'multipart/alternative');
  // In a digest parts that do not say what they are are messages (RFC 2046 5.1.5).
  const isDigested =
    above[0]?.contentType === 'multipart/digest' && !node?.headers.has('content-type');
  return { alternative, ...(isDigested && { type: MESSAGE }) };
}

const MESSAGE = 'message/rfc822';

async function readPart(part: AttachmentStream): Promise<MimePart> {
  const content: Buffer[] = [];
  for await (const piece of part.content as AsyncIterable<Buffer>) content.push(piece);
  part.release?.();
  const header = (part.headers.get('content-type') ?? {}) as Partial<StructuredHeader>;
  const fileName = part.filename || undefined;
  const [said] = /^[\w.+-]+\/[\w.+-]+/.exec(header.value?.toLowerCase() ?? '') ?? [];
  return {
    // As the part itself says, or else a text (RFC 2045 5.2): mailparser goes by the name also where there is a type.
    type: said ?? (fileName ? OCTETS : 'text/plain'),
    charset: header.params?.['charset'],
    isAttachment: (part.contentDisposition ?? 'inline') !== 'inline',
    fileName,
    contentId: part.contentId || undefined,
    content: Buffer.concat(content),
  };
}

const OCTETS = 'application/octet-stream';
