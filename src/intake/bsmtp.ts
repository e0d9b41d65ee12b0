import { createHash } from 'node:crypto';
import { decodeAddress } from '../mail/address.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';

/** The stream is not one complete message; nothing of it may be stored. */
export class BsmtpError extends Error {
  override readonly name = 'BsmtpError';
}

/**
 * Reads one message from a batch SMTP stream, as Exim's pipe transport writes it with `use_bsmtp`
 * (Exim specification, chapter 48): MAIL FROM, RCPT TO once or more, DATA, the dot-stuffed message, a
 * dot on a line of its own, and then the end. The lines of the envelope tell the line ends: LF, or CRLF
 * with `use_crlf`. The message's bytes are kept as they are, but for the dots that were doubled.
 *
 * Write the stream with `push`, chunk by chunk, then call `end`. Both throw BsmtpError. A chunk is not
 * kept: its buffer may be used again.
 */
export class BsmtpReader {
  readonly #bytesMax: number;
  #state: 'envelope' | 'message' | 'done' = 'envelope';
  #crlf = false;
  #line: Buffer = Buffer.alloc(0);
  #sender: string | undefined;
  readonly #recipients = new Set<string>();
  /** How many octets of the closing line the line has so far, and nothing else; they are held back. */
  #matched = 0;
  #size = 0;
  readonly #pieces: Buffer[] = [];
  readonly #hash = createHash('sha256');

  constructor(bytesMax: number = limits.messageBytes) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Buffer): void {
    let rest: Buffer = chunk;
    while (rest.length > 0) {
      if (this.#state === 'done') {
        throw new BsmtpError('there is something after the closing dot: only one message is taken');
      }
      rest = this.#state === 'envelope' ? this.#pushEnvelope(rest) : this.#pushMessage(rest);
    }
  }

  /** The complete message; `digest` is SHA-256 of its bytes. */
  end(): { envelope: Envelope; bytes: Buffer; digest: Buffer } {
    if (this.#state !== 'done') {
      throw new BsmtpError('the input ends before the closing dot: the message was cut short');
    }
    return {
      envelope: { sender: this.#sender ?? '', recipients: [...this.#recipients] },
      bytes: Buffer.concat(this.#pieces, this.#size),
      digest: this.#hash.digest(),
    };
  }

  #pushEnvelope(chunk: Buffer): Buffer {
    const newline = chunk.indexOf(LF);
    const end = newline < 0 ? chunk.length : newline + 1;
    if (this.#line.length + end > limits.envelopeLineBytes) {
      throw new BsmtpError(
        `a line of the envelope is over ${limits.envelopeLineBytes} octets long, which no address may be. ${RETURN}`,
      );
    }
    this.#line = Buffer.concat([this.#line, chunk.subarray(0, end)]);
    if (newline >= 0) {
      const crlf = this.#line.at(-2) === CR;
      this.#command(this.#line.subarray(0, crlf ? -2 : -1), crlf);
      this.#line = Buffer.alloc(0);
    }
    return chunk.subarray(end);
  }

  #command(line: Buffer, crlf: boolean): void {
    const command = line.toString('latin1');
    if (this.#sender === undefined) {
      this.#crlf = crlf;
      this.#sender = path(line, 'MAIL FROM:<', command);
    } else if (crlf !== this.#crlf) {
      throw new BsmtpError('the lines of the envelope end in different ways');
    } else if (command.toUpperCase() !== 'DATA') {
      this.#recipients.add(path(line, 'RCPT TO:<', command));
      if (this.#recipients.size > limits.handOverRecipients) {
        throw new BsmtpError(
          `there are more than ${limits.handOverRecipients} recipients in one hand-over. ` +
            "To do: set batch_max = 1000 in Exim's transport; Exim then hands over several times",
        );
      }
    } else if (this.#recipients.size === 0) {
      throw new BsmtpError('there is no recipient');
    } else {
      this.#state = 'message';
    }
  }

  #pushMessage(chunk: Buffer): Buffer {
    const closing = this.#crlf ? DOT_CRLF : DOT_LF;
    let matched = this.#matched;
    // One piece a chunk, whatever its lines. Of what was held back before it, only a CR may be kept.
    const piece = Buffer.allocUnsafe(chunk.length + 1);
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
      // Not the closing line. RFC 5321 4.5.2: of a line that begins with a dot, the dot goes.
      if (matched === 2) piece[kept++] = CR;
      piece[kept++] = octet;
      matched = octet === LF ? 0 : NOT_CLOSING;
    }
    this.#matched = matched;
    if (matched === closing.length) this.#state = 'done';
    this.#keep(piece.subarray(0, kept));
    return chunk.subarray(at);
  }

  #keep(piece: Buffer): void {
    this.#size += piece.length;
    if (this.#size > this.#bytesMax) {
      throw new BsmtpError(
        `the message is larger than the limit of ${this.#bytesMax} bytes. ` +
          `${RETURN}, and message_size_limit has Exim refuse the next one`,
      );
    }
    this.#hash.update(piece);
    this.#pieces.push(piece);
  }
}

/** The address of a command: everything between the command and the line's last `>`. */
function path(line: Buffer, prefix: string, command: string): string {
  const end = line.lastIndexOf('>');
  if (!command.toUpperCase().startsWith(prefix) || end < prefix.length) {
    throw new BsmtpError(
      `expected ${prefix}…> or DATA and got ${JSON.stringify(command.slice(0, limits.quotedChars))}`,
    );
  }
  if (command.slice(end + 1).trim() !== '') {
    throw new BsmtpError(
      `parameters are not supported: ${JSON.stringify(command.slice(-limits.quotedChars))}`,
    );
  }
  return decodeAddress(line.subarray(prefix.length, end));
}

/** What helps where Exim would hand a message over again and again. */
const RETURN = 'To do: exim4 -Mg and its id in Exim return it to its sender';

const LF = 0x0a;
const CR = 0x0d;
const LF_DOT = Buffer.from('\n.');
const DOT_LF = Buffer.from('.\n');
const DOT_CRLF = Buffer.from('.\r\n');
const NOT_CLOSING = -1;
