/**
 * Removes exactly one CR before each LF, and nothing else: the reverse of what a mail server does to a message that it
 * sends (RFC 5321, section 2.3.8). A CR at the end of a piece waits for the next one; a message ends in LF.
 */
export class CrlfToLf {
  readonly #keep: (piece: Buffer) => void;
  /** A CR was held back. */
  #isAfterCr = false;

  constructor(keep: (piece: Buffer) => void) {
    this.#keep = keep;
  }

  push(piece: Buffer): void {
    const kept = Buffer.allocUnsafe(piece.length + 1);
    let size = 0;
    if (this.#isAfterCr) kept[size++] = CR;
    for (const octet of piece) {
      if (octet === LF && size > 0 && kept[size - 1] === CR) size -= 1;
      kept[size++] = octet;
    }
    this.#isAfterCr = size > 0 && kept[size - 1] === CR;
    this.#keep(kept.subarray(0, this.#isAfterCr ? size - 1 : size));
  }
}

const LF = 0x0a;
const CR = 0x0d;
