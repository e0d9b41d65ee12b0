import type { IncomingMessage } from 'node:http';
import { awakeTimer } from '../host/awake-timer.ts';
import { limits } from '../mail/limits.ts';
import { postTimeMs } from '../wire/post-time.ts';

/** The body of a request is not read to its end. */
export class BodyRefused extends Error {
  /** 413 for one that is too large, 503 when all that are held together are, 408 for one too slow. */
  readonly status: 408 | 413 | 503;

  constructor(status: 408 | 413 | 503, message: string) {
    super(message);
    this.status = status;
  }
}

/** Reads bodies into memory, within a limit for each and one for all that are held at once. */
export class RequestBodies {
  #held = 0;

  /**
   * Reads the whole body. Call `free` when it is not needed any more. Rejects with BodyRefused, or
   * when the client goes away.
   */
  async read(request: IncomingMessage): Promise<{ bytes: Buffer; free(): void }> {
    let size = 0;
    const free = () => {
      this.#held -= size;
      size = 0;
    };
    const hold = (bytes: number) => {
      if (size + bytes > BODY_BYTES) {
        throw new BodyRefused(413, `the body is larger than the limit of ${BODY_BYTES} bytes`);
      }
      if (this.#held + bytes > limits.requestsBytes) {
        throw new BodyRefused(503, 'too much mail at once');
      }
      size += bytes;
      this.#held += bytes;
    };
    try {
      // What is only announced is not held: it costs nothing, and would keep others out.
      if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES) hold(BODY_BYTES + 1);
      const pieces: Buffer[] = [];
      for await (const piece of request as AsyncIterable<Buffer>) {
        hold(piece.length);
        pieces.push(piece);
      }
      return { bytes: Buffer.concat(pieces, size), free };
    } catch (error) {
      free();
      throw error;
    }
  }
}

/**
 * Breaks the request off when its body takes longer than any of that size may: whoever reads it gets
 * BodyRefused. (The server's own limit is one for all sizes.)
 */
export function limitTime(request: IncomingMessage): void {
  const size = Math.min(Number(request.headers['content-length'] ?? BODY_BYTES), BODY_BYTES);
  const late = () => request.destroy(new BodyRefused(408, 'the body took too long'));
  request.once('close', awakeTimer(postTimeMs(size), late));
}

const BODY_BYTES = limits.envelopeBytes + limits.messageBytes;
