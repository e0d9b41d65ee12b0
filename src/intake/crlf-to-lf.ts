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

  /** Changes the piece, and hands on a part of it. */
  push(piece: Buffer): void {
    if (piece.length === 0) return;
    if (this.#isAfterCr && piece[0] !== LF) this.#keep(Buffer.of(CR));
    let size = 0;
    for (let at = 0; at < piece.length;) {
      const cr = piece.indexOf(CRLF, at);
      const end = cr < 0 ? piece.length : cr;
      piece.copyWithin(size, at, end);
      size += end - at;
      at = cr < 0 ? end : cr + 1;
    }
    this.#isAfterCr = piece[size - 1] === CR;
    this.#keep(piece.subarray(0, this.#isAfterCr ? size - 1 : size));
  }
}

const LF = 0x0a;
const CR = 0x0d;
const CRLF = Buffer.from('\r\n');
