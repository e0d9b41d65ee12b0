import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../host/clock.ts';
import { awakeTimer } from '../../host/awake-timer.ts';
import { CollectedBytes } from '../../host/collected-bytes.ts';
import { limits } from '../../limits.ts';
import { postTimeMs } from '../../wire/post-time.ts';

/** The body of a request is not read to its end. */
export class BodyRefusedError extends Error {
  override readonly name = 'BodyRefusedError';
  /** 413: too large; 503: all bodies that are held are too large together; 408: too slow; 400: in too small pieces. */
  readonly status: 400 | 408 | 413 | 503;

  constructor(status: 400 | 408 | 413 | 503, message: string) {
    super(message);
    this.status = status;
  }
}

/** The body of a request, in memory. */
export interface RequestBody {
  bytes: Buffer;
  /** Counts the body as held until the function that it returns is called. */
  hold: () => () => void;
  /** A copy of a part of it, which is held and counted by itself. */
  part: (bytes: Buffer) => RequestBody;
}

/** Reads bodies into memory, within a limit for each and one for all that are held at once. */
export class RequestBodies {
  #held = 0;

  /**
   * Reads the whole body, and counts it as held while `work` goes on, or somebody holds it. `watch` is given each piece.
   * Rejects with BodyRefusedError, when the client goes away, or as `work` does; the connection stays open.
   */
  async with<T>(
    request: IncomingMessage,
    watch: ((piece: Buffer) => void) | undefined,
    work: (body: RequestBody) => Promise<T>,
  ): Promise<T> {
    const announced = Number(request.headers['content-length'] ?? 0);
    const body = new CollectedBytes(announced);
    const { count, hold } = this.#counter();
    const release = hold();
    try {
      // A size that is only announced does not count as held: it costs nothing, and would keep others out.
      requireSize(announced);
      await eachPiece(request, (piece) => {
        requireSize(body.size + piece.length);
        body.add(piece);
        count(body.held);
        if (this.#held > limits.requestsBytes)
          throw new BodyRefusedError(503, 'too much mail at once');
        watch?.(piece);
      });
      const bytes = body.whole();
      count(body.held);
      return await work({ bytes, hold, part: this.#part });
    } finally {
      release();
    }
  }

  /** A field, so that a part keeps nothing of the request that it came with. */
  readonly #part = (some: Buffer): RequestBody => {
    const { count, hold } = this.#counter();
    const bytes = Buffer.from(some);
    const holdPart = () => {
      count(bytes.length);
      return hold();
    };
    return { bytes, hold: holdPart, part: this.#part };
  };

  /** Counts bytes as held until nobody holds them any more. */
  #counter(): { count: (bytes: number) => void; hold: RequestBody['hold'] } {
    let [counted, holders] = [0, 0];
    const count = (bytes: number) => {
      this.#held += bytes - counted;
      counted = bytes;
    };
    const hold = () => {
      holders += 1;
      return () => {
        holders -= 1;
        if (holders === 0) count(0);
      };
    };
    return { count, hold };
  }
}

/** Reads the rest of a body that is not needed. Rejects with BodyRefusedError, or when the client goes away. */
export async function dropBody(request: IncomingMessage): Promise<void> {
  let size = 0;
  await eachPiece(request, ({ length }) => requireSize((size += length)));
}

async function eachPiece(request: IncomingMessage, take: (piece: Buffer) => void): Promise<void> {
  const { pieceBytes, piecesOfAnySize } = limits;
  let [pieces, size] = [0, 0];
  for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    pieces += 1;
    size += piece.length;
    if ((pieces - piecesOfAnySize) * pieceBytes > size) {
      const least = `${pieceBytes} bytes or more`;
      throw new BodyRefusedError(
        400,
        `the body is in too many small pieces: send it in such of ${least}`,
      );
    }
    take(piece);
  }
}

function requireSize(size: number): void {
  if (size <= BODY_BYTES) return;
  throw new BodyRefusedError(413, `the body is larger than the limit of ${BODY_BYTES} bytes`);
}

/**
 * Breaks the request off when its body takes longer than its size allows: reading it fails with BodyRefusedError. (The
 * server's own limit does not depend on the size.)
 */
export function limitTime(request: IncomingMessage, clock: Clock): void {
  const size = Math.min(Number(request.headers['content-length'] ?? BODY_BYTES), BODY_BYTES);
  const late = () => request.destroy(new BodyRefusedError(408, 'the body took too long'));
  request.once('close', awakeTimer(postTimeMs(size), late, clock));
}

const BODY_BYTES = limits.envelopeBytes + limits.messageBytes;
