import { EXIM_ID } from '../spool/message-fields.ts';

/** The header field by which Exim's transport passes on its id of a message. */
export const EXIM_ID_FIELD = 'X-Appengine-Mailer-Exim-Id';

/**
 * Takes the line with Exim's id off a message whose lines end in LF. Exim's transport writes that line as the last one of
 * the header section; a line like it elsewhere is part of the message.
 */
export class EximIdLine {
  readonly #keep: (piece: Buffer) => void;
  #isBody = false;
  /** The present line is another one: all of it is handed on. */
  #isOther = false;
  /** The beginning of a line that may become one with an id. */
  #begun: Buffer = EMPTY;
  /** A whole line with an id, which is Exim's if the header section ends behind it. */
  #found: Buffer | undefined;

  /** `keep` gets the bytes of the message without that line; it has to copy them. */
  constructor(keep: (piece: Buffer) => void) {
    this.#keep = keep;
  }

  push(piece: Buffer): void {
    for (let at = 0; at < piece.length;) {
      const newline = this.#isBody ? -1 : piece.indexOf(LF, at);
      const end = newline < 0 ? piece.length : newline + 1;
      const part = piece.subarray(at, end);
      if (this.#isBody) this.#keep(part);
      else this.#header(part, newline >= 0);
      at = end;
    }
  }

  /** The message is whole: Exim's id, if there was such a line. */
  end(): string | undefined {
    if (this.#begun.length > 0) this.#keep(this.#begun);
    return this.#found && idOf(this.#found);
  }

  /** A part of a line of the header section; `ends`: its last part. */
  #header(part: Buffer, ends: boolean): void {
    if (this.#isOther) {
      this.#isOther = !ends;
      return this.#keep(part);
    }
    const line = Buffer.concat([this.#begun, part]);
    this.#begun = EMPTY;
    if (line.equals(EMPTY_LINE)) {
      this.#isBody = true;
      return this.#keep(line);
    }
    if (this.#found) this.#keep(this.#found);
    this.#found = undefined;
    if (ends && idOf(line) !== undefined) this.#found = line;
    else if (!ends && mayBecomeId(line)) this.#begun = line;
    else {
      this.#isOther = !ends;
      this.#keep(line);
    }
  }
}

/** The id of a line with its LF; undefined for another line. */
function idOf(line: Buffer): string | undefined {
  if (!mayBecomeId(line)) return undefined;
  const id = line.toString('latin1', BEGIN.length, line.length - 1);
  return EXIM_ID.test(id) ? id : undefined;
}

function mayBecomeId(line: Buffer): boolean {
  const common = Math.min(line.length, BEGIN.length);
  return line.length <= LINE_BYTES && line.subarray(0, common).equals(BEGIN.subarray(0, common));
}

const LF = 0x0a;
const EMPTY = Buffer.alloc(0);
const EMPTY_LINE = Buffer.from('\n');
const BEGIN = Buffer.from(`${EXIM_ID_FIELD}: `);
/** With the longest id and LF. */
const LINE_BYTES = BEGIN.length + 64 + 1;
