/**
 * Bytes that arrive in pieces of any size, copied into blocks: a client that sends one octet at a time must not make us hold an
 * object for each.
 */
export class CollectedBytes {
  readonly #blocks: Buffer[] = [];
  /** Octets of the last block that are used. */
  #used = 0;
  #size = 0;
  #held = 0;

  /** How many bytes have arrived. */
  get size(): number {
    return this.#size;
  }

  /** How many bytes of memory they take: at most twice as many, and 4 KiB. */
  get held(): number {
    return this.#held;
  }

  add(piece: Uint8Array): void {
    for (let from = 0; from < piece.length;) {
      let block = this.#blocks.at(-1);
      if (!block || this.#used === block.length) {
        block = Buffer.allocUnsafeSlow(Math.min(Math.max(this.#size, BLOCK_MIN), BLOCK_MAX));
        this.#blocks.push(block);
        this.#held += block.length;
        this.#used = 0;
      }
      const length = Math.min(piece.length - from, block.length - this.#used);
      block.set(piece.subarray(from, from + length), this.#used);
      this.#used += length;
      this.#size += length;
      from += length;
    }
  }

  /** All bytes, as they are held. */
  pieces(): readonly Buffer[] {
    const last = this.#blocks.length - 1;
    return this.#blocks.map((block, at) => (at < last ? block : block.subarray(0, this.#used)));
  }

  /** All bytes, one after the other. */
  whole(): Buffer {
    const all = Buffer.concat(this.#blocks, this.#size);
    this.#blocks.splice(0, Infinity, all); // They would be held beside it.
    this.#used = all.length;
    return all;
  }
}

const BLOCK_MIN = 4096;
const BLOCK_MAX = 1024 * 1024;
