import { createHash, type Hash } from 'node:crypto';
import { fstatSync, readSync } from 'node:fs';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { limits } from '../../limits.ts';
import type { Imported } from '../../spool/import.ts';
import {
  DIGEST,
  EXIM_ID,
  haveFields,
  ID,
  isCount,
  isMatch,
  type FieldChecks,
  type Fields,
} from '../../spool/message-fields.ts';
import { MAGIC } from './write-transfer.ts';

/** A file is not what `queue export` writes, or is not whole; nothing of it may be used. */
export class TransferFileError extends CommandError {
  override readonly name = 'TransferFileError';

  constructor(file: string, fault: string) {
    super(exitCodes.no, `${file} is not a whole file of \`queue export\`: ${fault}`);
  }
}

/** What a file is. */
export interface TransferHeader {
  name: string;
  /** By the wall clock of where it was made: milliseconds since 1970. */
  exportedAt: number;
}

/**
 * A file of `queue export`, from a descriptor that can be read at any place; see TransferWriter. Anybody who
 * can write the file decides what is sent, so only checked parts of it are believed. Throws TransferFileError.
 */
export class TransferReader {
  readonly header: TransferHeader;
  readonly #fd: number;
  readonly #file: string;
  readonly #first: number;

  /** Reads all of it, so that what is read later comes from a file that is whole. */
  constructor(fd: number, file: string) {
    this.#fd = fd;
    this.#file = file;
    const pieces = this.#pieces(0);
    if (pieces.line() !== MAGIC) throw this.#fault('it has another format, or version');
    this.header = this.#header(pieces.json());
    this.#first = pieces.at;
    for (const message of this.#read(pieces)) void message;
  }

  /** The messages, one after the other. */
  messages(): Generator<Imported> {
    return this.#read(this.#pieces(this.#first), false);
  }

  *#read(pieces: Pieces, checksTheSum = true): Generator<Imported> {
    for (let count = 0; ; count += 1) {
      const digest = pieces.digest;
      const fields = pieces.json();
      if ('id' in fields) {
        yield this.#message(fields, pieces);
        continue;
      }
      if (fields['messages'] !== count) throw this.#fault('it has lost messages');
      if (checksTheSum && fields['sha256'] !== digest) throw this.#fault('its checksum is wrong');
      if (!pieces.isAtEnd) throw this.#fault('there is more behind its end');
      return;
    }
  }

  #header({ name, exported_at: exportedAt }: Fields): TransferHeader {
    if (!isMatch(name, ID) || !isCount(exportedAt)) throw this.#fault('its header is wrong');
    return { name, exportedAt };
  }

  #message(fields: Fields, pieces: Pieces): Imported {
    if (!isMessage(fields)) throw this.#fault('a message in it is wrong');
    const { id, size } = fields;
    const sender = this.#address(fields.sender);
    const recipients: Buffer[] = [];
    while (recipients.length < fields.recipients) recipients.push(this.#address(pieces.line()));
    const digest = Buffer.from(fields.digest, 'hex');
    const bytes = pieces.bytes(size);
    if (!createHash('sha256').update(bytes).digest().equals(digest)) {
      throw this.#fault(`message ${id} has other bytes than were exported`);
    }
    if (pieces.line() !== '') throw this.#fault(`message ${id} does not end where it should`);
    return {
      id,
      eximId: fields.exim_id,
      digest,
      sender,
      size,
      queuedAt: fields.queued_at,
      postedMs: fields.posted_ms,
      held: fields.held,
      lastStatus: fields.last_status,
      lastReason: fields.last_reason,
      recipients,
      bytes,
    };
  }

  /** Octets that an envelope in BSMTP can have had. */
  #address(text: string): Buffer {
    const octets = Buffer.from(text, 'base64');
    if (octets.toString('base64') !== text || octets.includes('\n')) {
      throw this.#fault('an address in it is wrong');
    }
    return octets;
  }

  #pieces(at: number): Pieces {
    return new Pieces(this.#fd, at, (fault) => this.#fault(fault));
  }

  #fault(fault: string): TransferFileError {
    return new TransferFileError(this.#file, fault);
  }
}

/** The line of a message, see TransferWriter. */
interface MessageFields {
  id: string;
  exim_id: string;
  digest: string;
  sender: string;
  recipients: number;
  size: number;
  queued_at: number;
  posted_ms: number | null;
  held: boolean;
  last_status: string | null;
  last_reason: string | null;
}

function isMessage(fields: Fields): fields is Fields & MessageFields {
  if (!haveFields(fields, MESSAGE_FIELDS)) return false;
  return (fields.last_status === null) === (fields.last_reason === null);
}

const MESSAGE_FIELDS: FieldChecks<MessageFields> = {
  id: (value) => isMatch(value, ID),
  exim_id: (value) => isMatch(value, EXIM_ID),
  digest: (value) => isMatch(value, DIGEST),
  sender: (value) => typeof value === 'string',
  recipients: (value) => isCount(value) && value > 0,
  size: isCount,
  queued_at: isCount,
  posted_ms: (value) => value === null || isCount(value),
  held: (value) => typeof value === 'boolean',
  last_status: (value) => value === null || isMatch(value, STATUS),
  last_reason: (value) => value === null || typeof value === 'string',
};

/** Reads lines and bytes of a file in order. */
class Pieces {
  readonly #fd: number;
  readonly #fault: (fault: string) => Error;
  readonly #size: number;
  readonly #hash: Hash = createHash('sha256');
  #ahead: Buffer = Buffer.alloc(0);
  at: number;

  constructor(fd: number, at: number, fault: (fault: string) => Error) {
    this.#fd = fd;
    this.at = at;
    this.#fault = fault;
    this.#size = fstatSync(fd).size;
  }

  /** SHA-256 of all that was read, in hex. */
  get digest(): string {
    return this.#hash.copy().digest('hex');
  }

  get isAtEnd(): boolean {
    return this.at >= this.#size;
  }

  /** The next line without its LF. */
  line(): string {
    this.#fill(limits.transferLineBytes);
    const end = this.#ahead.indexOf('\n');
    if (end < 0 || end > limits.transferLineBytes) {
      const isCut = end < 0 && this.#ahead.length < limits.transferLineBytes;
      throw this.#fault(isCut ? 'it ends too early' : 'a line in it is too long');
    }
    return this.#take(end + 1).toString('latin1', 0, end);
  }

  /** The next line, an object in JSON. */
  json(): Fields {
    const text = Buffer.from(this.line(), 'latin1').toString('utf8');
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null) return value as Fields;
    } catch {
      // Said below.
    }
    throw this.#fault('a line in it is not JSON');
  }

  bytes(count: number): Buffer {
    if (count > this.#size - this.at) throw this.#fault('it ends too early');
    this.#fill(count);
    return this.#take(count);
  }

  #take(count: number): Buffer {
    if (count > this.#ahead.length) throw this.#fault('it ends too early');
    const taken = this.#ahead.subarray(0, count);
    this.#hash.update(taken);
    this.#ahead = this.#ahead.subarray(count);
    this.at += count;
    return taken;
  }

  /** Has so many bytes at hand, unless the file ends before. */
  #fill(count: number): void {
    if (this.#ahead.length >= count) return;
    const more = Buffer.alloc(Math.max(count, limits.transferReadBytes) - this.#ahead.length);
    let read = 0;
    const from = this.at + this.#ahead.length;
    for (;;) {
      const now = readSync(this.#fd, more, read, more.length - read, from + read);
      read += now;
      if (now === 0 || read === more.length) break;
    }
    this.#ahead = Buffer.concat([this.#ahead, more.subarray(0, read)]);
  }
}

const STATUS = /^[245]\.\d{1,3}\.\d{1,3}$/;
