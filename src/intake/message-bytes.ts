import { createHash } from 'node:crypto';
import { CollectedBytes } from '../host/collected-bytes.ts';
import { limits } from '../limits.ts';

/** A message has more bytes than it may have. */
export class MessageTooLargeError extends Error {
  override readonly name = 'MessageTooLargeError';
}

/** The bytes of a message as they arrive: collected, counted, and hashed on the way. */
export class MessageBytes {
  readonly #bytesMax: number;
  readonly #hash = createHash('sha256');
  #collected = new CollectedBytes();
  #size = 0;

  constructor(bytesMax: number = limits.messageBytes) {
    this.#bytesMax = bytesMax;
  }

  /** How many bytes of memory they take. */
  get held(): number {
    return this.#collected.held;
  }

  /** A piece is not kept: its buffer may be used again. Of a message that is too large nothing is kept. */
  add(piece: Buffer): void {
    this.#size += piece.length;
    if (this.#size > this.#bytesMax) {
      if (this.held > 0) this.#collected = new CollectedBytes();
      return;
    }
    this.#hash.update(piece);
    this.#collected.add(piece);
  }

  /** Throws MessageTooLargeError when there are more bytes than there may be. */
  requireFitting(): void {
    if (this.#size <= this.#bytesMax) return;
    throw new MessageTooLargeError(
      `the message is larger than the limit of ${this.#bytesMax} bytes`,
    );
  }

  /** All bytes, in pieces, and SHA-256 of them; to be called once. Throws MessageTooLargeError. */
  end(): { pieces: readonly Buffer[]; digest: Buffer } {
    this.requireFitting();
    return { pieces: this.#collected.pieces(), digest: this.#hash.digest() };
  }
}
