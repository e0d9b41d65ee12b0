/** One header field: its place in the message's bytes, line end included, and its unfolded value. */
export interface HeaderField {
  /** In lower case; empty for a line that is no field. */
  name: string;
  value: string;
  start: number;
  end: number;
}

/** The header section of a message. */
export interface Headers {
  fields: HeaderField[];
  /** Where the body begins, after the empty line; undefined when there is no empty line. */
  bodyAt: number | undefined;
}

/**
 * Finds the header fields of a message (RFC 5322 2.2), whatever its line ends, without changing or
 * losing a byte: each field is a range. Values are read as UTF-8 where they are, else as latin1.
 */
export function parseHeaders(message: Buffer): Headers {
  const fields: HeaderField[] = [];
  for (let at = 0; at < message.length;) {
    const lineEnd = endOfLine(message, at);
    if (isEmptyLine(message.subarray(at, lineEnd))) return { fields, bodyAt: lineEnd };
    let end = lineEnd;
    while (end < message.length && (message[end] === SPACE || message[end] === TAB)) {
      end = endOfLine(message, end);
    }
    fields.push(parseField(message.subarray(at, end), at));
    at = end;
  }
  return { fields, bodyAt: undefined };
}

/**
 * Where the header section of a message ends, in bytes from its start. Much cheaper than parsing it: for
 * who has to bound what it parses.
 */
export function headerSize(message: Buffer): number {
  if (isEmptyLine(message.subarray(0, endOfLine(message, 0)))) return 0;
  const ends = ['\n\n', '\n\r\n'].map((end) => message.indexOf(end)).filter((at) => at >= 0);
  return ends.length === 0 ? message.length : Math.min(...ends) + 1;
}

/**
 * The message without the fields that `drop` names, and with these before the others: as strings without
 * a line end, or as the bytes of whole fields.
 */
export function editHeaders(
  message: Buffer,
  { fields }: Headers,
  drop: (field: HeaderField) => boolean,
  add: readonly (string | Buffer)[] = [],
): Buffer {
  const pieces = add.map((field) =>
    typeof field === 'string' ? Buffer.from(`${field}${lineEndOf(message)}`) : field,
  );
  let kept = 0;
  for (const field of fields.filter(drop)) {
    pieces.push(message.subarray(kept, field.start));
    kept = field.end;
  }
  return Buffer.concat([...pieces, message.subarray(kept)]);
}

function parseField(bytes: Buffer, start: number): HeaderField {
  const text = decode(bytes);
  const match = /^([\x21-\x39\x3b-\x7e]+)[ \t]*:/.exec(text);
  const value = match ? text.slice(match[0].length).replace(/\r?\n/g, '').trim() : '';
  return { name: match?.[1]?.toLowerCase() ?? '', value, start, end: start + bytes.length };
}

function decode(bytes: Buffer): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return bytes.toString('latin1');
  }
}

function endOfLine(message: Buffer, at: number): number {
  const newline = message.indexOf(LF, at);
  return newline < 0 ? message.length : newline + 1;
}

function isEmptyLine(line: Buffer): boolean {
  return (
    (line.length === 1 && line[0] === LF) || (line.length === 2 && line[0] === CR && line[1] === LF)
  );
}

function lineEndOf(message: Buffer): string {
  const newline = message.indexOf(LF);
  return newline > 0 && message[newline - 1] === CR ? '\r\n' : '\n';
}

const LF = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
