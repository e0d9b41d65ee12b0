import { createHash } from 'node:crypto';
import libmime from 'libmime';
import { endOfLine, parseHeaders, type HeaderField } from '../../../mail/headers.ts';
import { limits } from '../../../limits.ts';
import { OpenMultiparts } from './open-multiparts.ts';
import { headerText, isNamed } from './text-of.ts';

/** A message in which mailparser finds all text. */
export interface RepairedMime {
  message: Buffer;
  /** The first charset that a text part names, for 8-bit header fields, which cannot name one. */
  charset: string | undefined;
}

/**
 * Writes a message anew, given the fields of its header, so that mailparser finds all text of its parts. The header of a
 * part ends at an empty line, at a line of blanks, and before the first line that is not a field, such as a delimiter;
 * mailparser knows only the empty line, and would take all lines before it for fields. Delimiters are written without
 * blanks. Text after base64, such as the footer of a mailing list, becomes a part of its own. Only the header fields
 * Subject and Content-… are kept, in UTF-8. Beyond the limits of mailparser nothing is repaired: it refuses such a
 * message. The cost grows only with the size.
 */
export function repairMime(
  message: Buffer,
  header: readonly HeaderField[],
  bodyAt: number,
): RepairedMime {
  const pieces = piecesOf(message, header, bodyAt);
  const parts = pieces.filter((piece) => piece instanceof Part);
  const charset = parts
    .filter(({ type }) => type === '' || type.startsWith('text/'))
    .map(({ parameters }) => parameters['charset'])
    .find(isNamed);
  const written = pieces.map((piece) => (piece instanceof Part ? piece.written(charset) : piece));
  return { message: Buffer.concat(written), charset };
}

/** The headers of the message and its parts, and the bytes between them. */
function piecesOf(
  message: Buffer,
  header: readonly HeaderField[],
  bodyAt: number,
): (Buffer | Part)[] {
  const root = new Part(message, header);
  const open = new OpenMultiparts();
  open.add(root.boundary);
  if (!open.some) return wrapped(message, header, message.subarray(bodyAt));
  const pieces: (Buffer | Part)[] = [root];
  let part: Part | undefined = root;
  let [from, parts] = [bodyAt, 1];
  for (let at = bodyAt; open.some && at < message.length;) {
    let next = endOfLine(message, at);
    const innermost = open.innermost;
    const delimiter = isDashed(message, at) && open.close(textOfLine(message, at, next));
    if (delimiter) {
      pieces.push(...bodyOf(part, message.subarray(from, at), `--${innermost}\n\n`));
      pieces.push(Buffer.from(delimiter.line));
      part = undefined;
      if (!delimiter.isLast) {
        next = behindRepeated(message, next, delimiter.line.trimEnd());
        const begun = parts++ < limits.mimeParts ? partAt(message, next) : undefined;
        if (!begun) return [...pieces, message.subarray(next)];
        ({ part, bodyAt: next } = begun);
        pieces.push(part);
        open.add(part.boundary);
      }
      from = next;
    }
    at = next;
  }
  return [...pieces, ...bodyOf(part, message.subarray(from), `--${open.innermost}\n\n`)];
}

/** The part that begins here, and where its body does; undefined when its header is too large. */
function partAt(message: Buffer, at: number): { part: Part; bodyAt: number } | undefined {
  const size = headerSizeAt(message, at);
  if (!size) return undefined;
  const section = message.subarray(at, at + size.fields);
  const part = new Part(section, parseHeaders(section).fields);
  return { part, bodyAt: at + size.fields + size.separator };
}

/** A message that is not a multipart; it becomes one where there is text behind its base64. */
function wrapped(message: Buffer, header: readonly HeaderField[], body: Buffer): (Buffer | Part)[] {
  const root = new Part(message, header);
  if (!root.isBase64) return [root, body];
  // Nobody can write a body with its own hash in it.
  const boundary = createHash('sha256').update(body).digest('hex');
  const bodies = bodyOf(root, body, `--${boundary}\n\n`);
  if (bodies.length === 1) return [root, ...bodies];
  const type = Buffer.from(`Content-Type: multipart/mixed; boundary=${boundary}\n`);
  const subject = header.filter(({ name }) => name === 'subject');
  return [type, new Part(message, subject), Buffer.from(`--${boundary}\n`), root, ...bodies];
}

/** The body of a part, and the text after its base64 as another part. */
function bodyOf(part: Part | undefined, body: Buffer, delimiter: string): Buffer[] {
  const size = part?.isBase64 ? base64Size(body) : body.length;
  if (size === body.length) return [body];
  return [body.subarray(0, size), Buffer.from(delimiter), body.subarray(size)];
}

/** Where the first line begins that has words: they would be decoded to something. */
function base64Size(body: Buffer): number {
  for (let at = 1; at < body.length - 1; at += 1) {
    const isBlank = body[at] === SPACE || body[at] === TAB;
    if (isBlank && isOfWord(body[at - 1]) && isOfWord(body[at + 1])) {
      return body.lastIndexOf('\n', at) + 1;
    }
  }
  return body.length;
}

function isOfWord(octet = 0): boolean {
  return octet > SPACE;
}

/** The header of a message or of a part. */
class Part {
  /** In lower case; empty where it is not said. */
  readonly type: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly isBase64: boolean;
  readonly #fields: { name: string; octets: Buffer }[];

  constructor(section: Buffer, header: readonly HeaderField[]) {
    this.#fields = header
      .filter(({ name }) => name === 'subject' || name.startsWith('content-'))
      .map(({ name, start, end }) => ({ name, octets: section.subarray(start, end) }));
    const { value, params } = this.#structured('content-type');
    this.type = value.toLowerCase().trim();
    this.parameters = params;
    const encoding = this.#structured('content-transfer-encoding').value;
    this.isBase64 = encoding.toLowerCase() === 'base64' && !this.#isMultipart;
  }

  /** The boundary of its parts, as mailparser reads it; undefined when it has no parts. */
  get boundary(): string | undefined {
    const boundary = (this.parameters['boundary'] ?? '').trimEnd();
    return this.#isMultipart && /^[\0-\x7f]+$/.test(boundary) ? boundary : undefined;
  }

  /** With the line that ends it. A boundary of a part that is not a multipart is renamed: mailparser would look for it. */
  written(charset: string | undefined): Buffer {
    const lines = this.#fields.map(({ name, octets }) => {
      const text = headerText(octets, charset);
      const value = unfolded(text);
      const isLeaf = name === 'content-type' && !this.#isMultipart;
      return `${text.slice(0, text.indexOf(':')).trim()}: ${isLeaf ? value.replace(BOUNDARY, 'x-$&') : value}\n`;
    });
    return Buffer.from(`${lines.join('')}\n`);
  }

  get #isMultipart(): boolean {
    return /^multipart\/./.test(this.type);
  }

  #structured(name: string): ReturnType<typeof libmime.parseHeaderValue> {
    const field = this.#fields.find((each) => each.name === name)?.octets.toString('latin1') ?? '';
    return libmime.parseHeaderValue(unfolded(field), { stripComments: true });
  }
}

const BOUNDARY = /\bboundary(?=[\s*=])/gi;

/** The value of a field, given whole. */
export function unfolded(field: string): string {
  return field
    .slice(field.indexOf(':') + 1)
    .replace(/\r?\n/g, '')
    .trim();
}

/** How many bytes the fields of a part have, and the line after them; undefined when they are too many. */
function headerSizeAt(
  message: Buffer,
  start: number,
): { fields: number; separator: number } | undefined {
  for (let at = start; at < message.length;) {
    const next = endOfLine(message, at);
    const line = message.toString('latin1', at, Math.min(next, start + limits.headerBytes));
    const isMeant = () => MEANT.test(message.toString('latin1', at, at + 100));
    if (EMPTY.test(line) || (BLANKS.test(line) && !isMeant())) {
      return { fields: at - start, separator: next - at };
    }
    const isContinuation = CONTINUATION.test(line) && (at > start || isMeant());
    if (!isContinuation && !FIELD.test(line)) return { fields: at - start, separator: 0 };
    if (next - start > limits.headerBytes) return undefined;
    at = next;
  }
  return { fields: message.length - start, separator: 0 };
}

/** Blanks that belong to the header, as what follows shows. */
const MEANT = /^[ \t]+(?:\r*\n)?content-[!-9;-~]+[ \t]*:/i;
const EMPTY = /^\r*\n?$/;
const BLANKS = /^[ \t]+\r*\n?$/;
const CONTINUATION = /^[ \t]/;
/** As parseHeaders reads it; but no field begins like a delimiter. */
const FIELD = /^(?!--)[!-9;-~]+[ \t]*:/;

/** Whether a line may be a delimiter; for mailparser a CR may precede one. */
function isDashed(message: Buffer, at: number): boolean {
  const start = message[at] === CR ? at + 1 : at;
  return message[start] === DASH && message[start + 1] === DASH;
}

/**
 * The place after the delimiters that repeat this one directly. A last delimiter among them ends nothing, as in other
 * mail programs: the part has not begun.
 */
function behindRepeated(message: Buffer, start: number, line: string): number {
  for (let at = start; ;) {
    const next = endOfLine(message, at);
    const text = isDashed(message, at) ? textOfLine(message, at, next) : '';
    if (text !== line && text !== `${line}--`) return at;
    at = next;
  }
}

function textOfLine(message: Buffer, at: number, next: number): string {
  return message.toString('latin1', at, next).trim();
}

const [TAB, CR, SPACE, DASH] = [0x09, 0x0d, 0x20, 0x2d];
