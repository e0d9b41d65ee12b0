/**
 * Bytes that arrive in pieces of any size, copied into blocks: a client that sends one octet at a time must not make us hold an
 * object for each.
 */
export class CollectedBytes {
  readonly #announced: number;
  #blocks: Buffer[] = [];
  /** Octets of the last block that are used; all others are full. */
  #used = 0;
  #size = 0;
  #allocated = 0;

  /**
   * `announced`: how many bytes are to come, where that is known. Once an eighth of a large number has arrived, all get one
   * block: to put them together in the end would take their size once more.
   */
  constructor(announced = 0) {
    this.#announced = announced;
  }

  /** How many bytes have arrived. */
  get size(): number {
    return this.#size;
  }

  /** How many bytes of memory they take: at most twice as many, and 4 KiB. What was never written takes none. */
  get held(): number {
    return Math.min(this.#allocated, 2 * this.#size + BLOCK_MIN);
  }

  add(piece: Uint8Array): void {
    for (let from = 0; from < piece.length;) {
      let block = this.#blocks.at(-1);
      if (!block || this.#used === block.length) block = this.#nextBlock();
      const length = Math.min(piece.length - from, block.length - this.#used);
      block.set(piece.subarray(from, from + length), this.#used);
      this.#used += length;
      this.#size += length;
      from += length;
    }
  }

  #nextBlock(): Buffer {
    const isCredible = this.#size >= Math.max(this.#announced / 8, BLOCK_MAX);
    if (isCredible && this.#size < this.#announced) return this.#together(this.#announced);
    const block = Buffer.allocUnsafeSlow(Math.min(Math.max(this.#size, BLOCK_MIN), BLOCK_MAX));
    this.#blocks.push(block);
    this.#used = 0;
    this.#allocated += block.length;
    return block;
  }

  /** Puts all bytes into one block of that length. */
  #together(length: number): Buffer {
    const block = Buffer.allocUnsafeSlow(length);
    let at = 0;
    for (const piece of this.pieces()) at += piece.copy(block, at);
    this.#blocks = [block];
    this.#used = at;
    this.#allocated = length;
    return block;
  }

  /** All bytes, as they are held. */
  pieces(): readonly Buffer[] {
    const last = this.#blocks.length - 1;
    return this.#blocks.map((block, at) => (at < last ? block : block.subarray(0, this.#used)));
  }

  /** All bytes, one after the other. */
  whole(): Buffer {
    const [only] = this.#blocks;
    const block = only && this.#blocks.length === 1 ? only : this.#together(this.#size);
    return block.subarray(0, this.#size);
  }
}

const BLOCK_MIN = 4096;
const BLOCK_MAX = 1024 * 1024;
