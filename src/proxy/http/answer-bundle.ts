import { setImmediate } from 'node:timers/promises';
import { limits } from '../../limits.ts';
import { decodeBundle, encodeAnswers, encodePart, type BundledPost } from '../../wire/bundle.ts';
import { FrameError } from '../../wire/frame.ts';
import { sign } from '../../wire/sign.ts';
import { answerFrame, headersFault, replyToError, signed, WRONG_SIGNATURE } from './answer-v2.ts';
import type { Post, Service } from './post.ts';
import type { Reply } from './reply.ts';
import type { SignatureCheck } from './signature-check.ts';

/**
 * Answers a bundle of posts of HTTP v2 (src/wire/README.md). Each post is answered as alone, as soon as that is known.
 * The ledger commits what all of them begin in one transaction, since they begin in one moment, and likewise what becomes
 * of them.
 */
export async function answerBundle(
  post: Post,
  check: SignatureCheck,
  service: Service,
  { answered, failed }: BundleWatch,
): Promise<Reply> {
  const { body: whole, ...about } = post;
  const { bytes, part } = whole;
  const { clock } = service.deliverer;
  const key = await check.find(bytes);
  if (!key) return WRONG_SIGNATURE;
  const posts = headersFault(check, post.arrivedAt) ?? postsOf(bytes);
  if (!Array.isArray(posts)) return signed(posts, check.id, key, clock);
  const answerOne = async (id: string, alone: Post): Promise<Answer> => {
    const release = alone.body.hold();
    const reply = await answerFrame(alone, id, key, service).catch(replyToError).finally(release);
    answered(id, { ...reply, key: key.name });
    return { id, reply };
  };
  // One that is slow keeps its own bytes, and not those of the others.
  const answers = posts.map(({ id, body }) => answerOne(id, { ...about, body: part(body) }));
  const encoded = (some: readonly Answer[]) => {
    const timestamp = String(Math.floor(clock.wallNow() / 1000));
    const body = encodeAnswers(some.map(bundledAnswer));
    const signature = sign(key.secret, { id: check.id, timestamp, body: [body] });
    return encodePart({ timestamp, signature, body });
  };
  return {
    status: 200,
    text: '',
    key: key.name,
    // nginx would hold back the first answers until there are more.
    headers: { 'content-type': 'application/octet-stream', 'x-accel-buffering': 'no' },
    parts: partsOf(answers, encoded, failed),
  };
}

/** Is told of each answer, and of each post that has none because of a defect: the client posts that alone. */
export interface BundleWatch {
  answered: (id: string, reply: Reply) => void;
  failed: (error: Error) => void;
}

interface Answer {
  id: string;
  reply: Reply;
}

function postsOf(bytes: Buffer): BundledPost[] | Reply {
  if (bytes.length > limits.bundleBytes) {
    return { status: 413, text: `the bundle is larger than ${limits.bundleBytes} bytes` };
  }
  try {
    return decodeBundle(bytes);
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    return { status: 400, text: error.message };
  }
}

function bundledAnswer({ id, reply: { status, text, headers } }: Answer) {
  return { id, status, body: Buffer.from(text), retryAfter: Number(headers?.['retry-after'] ?? 0) };
}

/** Those that are known in one moment make one part. */
async function* partsOf(
  answers: readonly Promise<Answer>[],
  encoded: (some: readonly Answer[]) => Buffer,
  failed: (error: Error) => void,
): AsyncGenerator<Buffer> {
  const known: Answer[] = [];
  const open = new Set<Promise<unknown>>();
  for (const answer of answers) {
    const settling = answer
      .then((each) => known.push(each))
      .catch(failed)
      .finally(() => open.delete(settling));
    open.add(settling);
  }
  while (open.size > 0 || known.length > 0) {
    if (known.length === 0) await Promise.race(open);
    await setImmediate();
    if (known.length > 0) yield encoded(known.splice(0));
  }
}
