import { createHash, type Hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import type { Exported } from '../../spool/export.ts';

/**
 * Writes a file of `queue export`, which read-transfer.ts reads:
 *
 *     appengine-mailer queue 1                                the format and its version
 *     {"name","exported_at"}                                  JSON, as all lines with braces
 *     {"id","exim_id","digest","sender","recipients","size","queued_at","posted_ms","held","last_status","last_reason"}
 *     an address                                              in base64, as many lines as recipients says
 *     the bytes of the message, LF                            as many as size says
 *     … more messages
 *     {"messages","sha256"}                                   SHA-256 of all that is before this line
 *
 * A file without its last line is not whole, and nothing is read of it. Throws the file system's errors.
 */
export class TransferWriter {
  readonly #fd: number;
  readonly #hash: Hash = createHash('sha256');
  #messages = 0;

  constructor(fd: number, name: string, wallNow: number) {
    this.#fd = fd;
    this.#write(`${MAGIC}\n`);
    this.#line({ name, exported_at: wallNow });
  }

  add({ recipients, bytes, sender, digest, ...message }: Exported): void {
    this.#line({
      id: message.id,
      exim_id: message.eximId,
      digest: digest.toString('hex'),
      sender: sender.toString('base64'),
      recipients: recipients.length,
      size: message.size,
      queued_at: message.queuedAt,
      posted_ms: message.postedMs,
      held: message.held,
      last_status: message.lastStatus,
      last_reason: message.lastReason,
    });
    for (const address of recipients) this.#write(`${address.toString('base64')}\n`);
    for (const part of bytes) this.#write(part);
    this.#write('\n');
    this.#messages += 1;
  }

  end(): void {
    this.#line({ messages: this.#messages, sha256: this.#hash.copy().digest('hex') });
  }

  #line(fields: object): void {
    this.#write(`${JSON.stringify(fields)}\n`);
  }

  #write(text: string | Buffer): void {
    const bytes = Buffer.from(text);
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
  }
}

/** The first line of a file. */
export const MAGIC = 'appengine-mailer queue 1';
