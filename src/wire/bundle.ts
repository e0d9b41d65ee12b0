import { CollectedBytes } from '../host/collected-bytes.ts';
import { limits } from '../limits.ts';
import { FrameError, messageId } from './frame.ts';

/** The media type of a bundle: several posts of HTTP v2 in one request, with one signature. */
export const bundleType = 'application/vnd.appengine-mailer.v2.bundle';

/** A header of signed answers to posts alone: the proxy takes bundles. */
export const bundlesHeader = 'appengine-mailer-bundles';

/** A post in a bundle: the id of its message, and what would be its body alone. */
export interface BundledPost {
  id: string;
  body: Buffer;
}

/** What a post of a bundle is answered: as alone, but for the headers. */
export interface BundledAnswer {
  id: string;
  status: number;
  body: Buffer;
  /** Retry-After, in seconds; 0 where there is none. */
  retryAfter: number;
}

/** Some answers of a bundle, with a signature of their own: the others may come later. */
export interface AnswerPart {
  timestamp: string;
  signature: string;
  body: Buffer;
}

/** The body of a bundle: blocks `ID LENGTH`. */
export function encodeBundle(posts: readonly BundledPost[]): Buffer {
  return Buffer.concat(posts.flatMap(({ id, body }) => block([id], body)));
}

/** Takes a bundle apart; the bodies are views into it. Throws FrameError. */
export function decodeBundle(bytes: Buffer): BundledPost[] {
  const posts = blocksOf(bytes, 1)?.map(({ words: [id = ''], body }) => ({ id, body }));
  if (!posts?.every(({ id }) => messageId.test(id))) throw new FrameError(MALFORMED);
  if (new Set(posts.map(({ id }) => id)).size < posts.length) {
    throw new FrameError('a message is in the bundle twice');
  }
  if (posts.length > 0 && posts.length <= limits.bundlePosts) return posts;
  throw new FrameError(`a bundle has 1 to ${limits.bundlePosts} messages`);
}

/** What is signed of some answers: blocks `ID STATUS RETRY-AFTER LENGTH`. */
export function encodeAnswers(answers: readonly BundledAnswer[]): Buffer {
  return Buffer.concat(
    answers.flatMap(({ id, status, retryAfter, body }) => block([id, status, retryAfter], body)),
  );
}

/** Takes answers apart; undefined where they are malformed. */
export function decodeAnswers(bytes: Buffer): BundledAnswer[] | undefined {
  const answers = blocksOf(bytes, 3)?.map(({ words: [id = '', status, retryAfter], body }) => ({
    id,
    status: Number(status),
    retryAfter: Number(retryAfter),
    body,
  }));
  const isRight = answers?.every(({ status, retryAfter }) => status >= 100 && retryAfter >= 0);
  return isRight ? answers : undefined;
}

/** A part of the answer to a bundle: a block `TIMESTAMP SIGNATURE LENGTH` of answers. */
export function encodePart({ timestamp, signature, body }: AnswerPart): Buffer {
  return Buffer.concat(block([timestamp, signature], body));
}

/** Reads the parts of an answer as its bytes arrive. */
export class PartReader {
  #bytes = new CollectedBytes();
  /** With fewer bytes there is nothing more to read. */
  #needed = 1;

  /** Returns the parts that are complete with this piece; undefined when the bytes are malformed. */
  add(piece: Buffer): AnswerPart[] | undefined {
    this.#bytes.add(piece);
    if (this.#bytes.size < this.#needed) return [];
    const bytes = this.#bytes.whole();
    const parts: AnswerPart[] = [];
    let at = 0;
    for (;;) {
      const found = blockAt(bytes, at, 2);
      if (found === undefined) return undefined;
      if (typeof found === 'number') {
        this.#bytes = new CollectedBytes();
        this.#bytes.add(bytes.subarray(at));
        this.#needed = found;
        return parts;
      }
      const [timestamp = '', signature = ''] = found.words;
      parts.push({ timestamp, signature, body: found.body });
      at = found.end;
    }
  }
}

/** Words on a line, and bytes, whose length is the last word. */
interface Block {
  words: string[];
  body: Buffer;
}

function block(words: readonly (string | number)[], body: Buffer): Buffer[] {
  return [Buffer.from(`${words.join(' ')} ${body.length}\n`), body];
}

/** All of the bytes as blocks of so many words besides the length; undefined where they are anything else. */
function blocksOf(bytes: Buffer, words: number): Block[] | undefined {
  const blocks: Block[] = [];
  for (let at = 0; at < bytes.length;) {
    const found = blockAt(bytes, at, words);
    if (found === undefined || typeof found === 'number') return undefined;
    blocks.push(found);
    at = found.end;
  }
  return blocks;
}

/**
 * The block that begins there, and where it ends; how many bytes it needs at least, where it is not complete; undefined
 * where it is none.
 */
function blockAt(
  bytes: Buffer,
  at: number,
  words: number,
): (Block & { end: number }) | number | undefined {
  const begun = bytes.subarray(at, at + LINE_BYTES);
  const lineEnd = begun.indexOf(0x0a);
  if (lineEnd < 0) return begun.length < LINE_BYTES ? begun.length + 1 : undefined;
  const line = begun.toString('latin1', 0, lineEnd).split(' ');
  const length = line.pop() ?? '';
  if (line.length !== words || line.includes('') || !LENGTH.test(length)) return undefined;
  const begin = at + lineEnd + 1;
  const end = begin + Number(length);
  if (end > bytes.length) return end - at;
  return { words: line, body: bytes.subarray(begin, end), end };
}

const LENGTH = /^\d{1,8}$/;
const LINE_BYTES = 200;
const MALFORMED = 'the body is not lines with an id and a length, each with a post behind it';
