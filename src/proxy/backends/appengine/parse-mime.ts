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

/** A part of a message that is not a multipart, with its transfer encoding undone. */
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

/** The message has more parts, or a longer header, than are read. */
export class MimeError extends Error {
  override readonly name = 'MimeError';
}

/**
 * Takes a repaired message (`repairMime`) apart; `body` is its body as it came. A multipart without parts is treated as
 * text, if the message has no parts at all; if there are other parts, the whole message is attached so that nothing is
 * lost. Throws MimeError when it has too many parts or too long headers. Some messages take minutes.
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
    const { code, message: why } = error as NodeJS.ErrnoException;
    throw code === 'EMAXLEN' ? new MimeError(tooMuch(why)) : error;
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
  // These two are not in mailparser's documented interface; tests would find that they have changed.
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

/** The properties that a part has because of its place. */
function placeOf(node: MimeNode | undefined): Partial<MimePart> {
  const above: MimeNode[] = [];
  for (let parent = node?.parent; parent; parent = parent.parent) above.push(parent);
  const alternative = above.findLast(({ contentType }) => contentType === 'multipart/alternative');
  // In a digest, parts without a type are messages (RFC 2046 5.1.5).
  const isDigested =
    above[0]?.contentType === 'multipart/digest' && !node?.headers.has('content-type');
  return { alternative, ...(isDigested && { type: MESSAGE }) };
}

const MESSAGE = 'message/rfc822';

async function readPart(part: AttachmentStream): Promise<MimePart> {
  const content: Buffer[] = [];
  for await (const piece of part.content as AsyncIterable<Buffer>) content.push(piece);
  part.release?.();
  const fileName = part.filename || undefined;
  return {
    ...readContentType(part, fileName ? OCTETS : 'text/plain'),
    isAttachment: (part.contentDisposition ?? 'inline') !== 'inline',
    fileName,
    contentId: part.contentId || undefined,
    content: Buffer.concat(content),
  };
}

/** As the part itself says it (RFC 2045 5.2): mailparser derives the type from the file name also where there is one. */
function readContentType(
  { headers }: AttachmentStream,
  otherwise: string,
): Pick<MimePart, 'type' | 'charset'> {
  const header = (headers.get('content-type') ?? {}) as Partial<StructuredHeader>;
  const [type = otherwise] = TYPE.exec(header.value?.toLowerCase() ?? '') ?? [];
  return { type, charset: header.params?.['charset'] };
}

const TYPE = /^[\w.+-]+\/[\w.+-]+/;
const OCTETS = 'application/octet-stream';
