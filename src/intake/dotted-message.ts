/**
 * Takes a message as SMTP transmits it (RFC 5321, section 4.5.2): a line that begins with a dot has one dot more, and a dot on a
 * line of its own ends the message. That closing line ends in LF or, with `crlf`, in CRLF; the line before it ends in LF, with
 * CR or without, as Exim may send it. All other bytes are handed on as they are, whatever their line ends.
 */
export class DottedMessage {
  readonly #closing: Buffer;
  readonly #keep: (piece: Buffer) => void;
  /** How many octets of the closing line the line has so far, and nothing else; they are held back. */
  #matched = 0;

  /** What `keep` is given, again and again: a large message makes no garbage. */
  #piece: Buffer = Buffer.alloc(0);

  /** `keep` gets the bytes of the message, in pieces that it may change; their buffer is used again afterwards. */
  constructor({ crlf, keep }: { crlf: boolean; keep: (piece: Buffer) => void }) {
    this.#closing = crlf ? DOT_CRLF : DOT_LF;
    this.#keep = keep;
  }

  /** Whether the closing line was read. */
  get isWhole(): boolean {
    return this.#matched === this.#closing.length;
  }

  /**
   * Takes what arrives, and returns what is behind the closing line. A chunk is not kept: its buffer may be used again.
   */
  push(chunk: Buffer): Buffer {
    const closing = this.#closing;
    let matched = this.#matched;
    // One piece a chunk, whatever its lines. Of what was held back before it, only a CR may be kept.
    if (this.#piece.length <= chunk.length) this.#piece = Buffer.allocUnsafe(chunk.length + 1);
    const piece = this.#piece;
    let kept = 0;
    let at = 0;
    while (at < chunk.length && matched < closing.length) {
      if (matched === NOT_CLOSING) {
        // Up to the next line that begins with a dot: all other lines need no look.
        const dot = chunk.indexOf(LF_DOT, at);
        const end = dot < 0 ? chunk.length : dot + 1;
        kept += chunk.copy(piece, kept, at, end);
        matched = chunk[end - 1] === LF ? 0 : NOT_CLOSING;
        at = end;
        continue;
      }
      const octet = chunk[at++] as number;
      if (octet === closing[matched]) {
        matched += 1;
        continue;
      }
      // This is not the closing line. Of a line that begins with a dot, the dot goes.
      if (matched === 2) piece[kept++] = CR;
      piece[kept++] = octet;
      matched = octet === LF ? 0 : NOT_CLOSING;
    }
    this.#matched = matched;
    this.#keep(piece.subarray(0, kept));
    return chunk.subarray(at);
  }
}

const LF = 0x0a;
const CR = 0x0d;
const LF_DOT = Buffer.from('\n.');
const DOT_LF = Buffer.from('.\n');
const DOT_CRLF = Buffer.from('.\r\n');
const NOT_CLOSING = -1;
