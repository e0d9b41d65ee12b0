import { CrlfToLf } from './crlf-to-lf.ts';
import { DottedMessage } from './dotted-message.ts';
import { EximIdLine } from './exim-id-line.ts';
import { MessageBytes } from './message-bytes.ts';

/** A message as an LMTP client transmits it, from DATA to the closing dot; its bytes become those that exim-pipe would store (law 3). */
export class IncomingMessage {
  readonly #bytes: MessageBytes;
  readonly #idLine: EximIdLine | undefined;
  readonly #dotted: DottedMessage;

  /** `hasIdLine`: a last header line that tells Exim's id is not part of the message. */
  constructor(bytesMax: number, { hasIdLine }: { hasIdLine: boolean }) {
    const bytes = new MessageBytes(bytesMax);
    const keep = (piece: Buffer) => bytes.add(piece);
    const idLine = hasIdLine ? new EximIdLine(keep) : undefined;
    const lines = new CrlfToLf(idLine ? (piece) => idLine.push(piece) : keep);
    this.#bytes = bytes;
    this.#idLine = idLine;
    this.#dotted = new DottedMessage({ crlf: true, keep: (piece) => lines.push(piece) });
  }

  /** Whether the closing dot was read. */
  get isWhole(): boolean {
    return this.#dotted.isWhole;
  }

  /** How many bytes of memory it takes. */
  get held(): number {
    return this.#bytes.held;
  }

  /** Takes what arrives, and returns what is behind the closing dot. A chunk is not kept. */
  push(chunk: Buffer): Buffer {
    return this.#dotted.push(chunk);
  }

  /** The whole message; `eximId` is that of its line. To be called once. Throws MessageTooLargeError. */
  end(): { eximId: string | undefined; pieces: readonly Buffer[]; digest: Buffer } {
    const eximId = this.#idLine?.end();
    return { eximId, ...this.#bytes.end() };
  }
}
