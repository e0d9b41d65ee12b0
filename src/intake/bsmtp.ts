import { decodeAddress } from '../mail/address.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import { DottedMessage } from './dotted-message.ts';
import { MessageBytes, MessageTooLargeError } from './message-bytes.ts';

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
  readonly #bytes: MessageBytes;
  #line: Buffer = Buffer.alloc(0);
  /** Whether lines end in CRLF. */
  #crlf = false;
  #sender: string | undefined;
  readonly #recipients = new Set<string>();
  /** From DATA on. */
  #message: DottedMessage | undefined;

  constructor(bytesMax: number = limits.messageBytes) {
    this.#bytes = new MessageBytes(bytesMax);
  }

  push(chunk: Buffer): void {
    let rest: Buffer = chunk;
    while (rest.length > 0) {
      if (this.#message?.isWhole) {
        throw new BsmtpError('there is something after the closing dot: only one message is taken');
      }
      rest = this.#message ? this.#pushMessage(this.#message, rest) : this.#pushEnvelope(rest);
    }
  }

  /** The complete message; `digest` is SHA-256 of its bytes. */
  end(): { envelope: Envelope; pieces: readonly Buffer[]; digest: Buffer } {
    if (!this.#message?.isWhole) {
      throw new BsmtpError('the input ends before the closing dot: the message was cut short');
    }
    return {
      envelope: { sender: this.#sender ?? '', recipients: [...this.#recipients] },
      ...this.#bytes.end(),
    };
  }

  #pushMessage(message: DottedMessage, chunk: Buffer): Buffer {
    const rest = message.push(chunk);
    try {
      this.#bytes.requireFitting();
      return rest;
    } catch (error) {
      if (!(error instanceof MessageTooLargeError)) throw error;
      throw new BsmtpError(
        `${error.message}. ${RETURN}, and message_size_limit has Exim refuse the next one`,
      );
    }
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
      this.#message = new DottedMessage({ crlf, keep: (piece) => this.#bytes.add(piece) });
    }
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
