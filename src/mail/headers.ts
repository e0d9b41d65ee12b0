import { strictUtf8 } from './strict-utf8.ts';

/** One header field: its name, and its place in the message's bytes, line end included. */
export interface HeaderField {
  /** In lower case; empty for a line that is no field. */
  name: string;
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
 * losing a byte: each field is a range.
 */
export function parseHeaders(message: Buffer): Headers {
  const fields: HeaderField[] = [];
  for (let at = 0; at < message.length;) {
    if (isEmptyLine(message, at)) return { fields, bodyAt: endOfLine(message, at) };
    const end = endOfField(message, at);
    fields.push({ name: nameOf(message, at), start: at, end });
    at = end;
  }
  return { fields, bodyAt: undefined };
}

/**
 * The fields with this name (in lower case), as parseHeaders finds them, one after the other: for headers
 * of any size, of which no list of all fields may be made.
 */
export function* fieldsNamed(message: Buffer, name: string): Generator<HeaderField> {
  const size = headerSize(message);
  const first = name.charCodeAt(0);
  for (let start = 0; start < size;) {
    if (((message[start] ?? 0) | 0x20) === first && nameOf(message, start) === name) {
      const end = endOfField(message, start);
      yield { name, start, end };
      start = end;
    } else {
      // By index: a call for each line takes ten times as long where lines are short.
      while (start < size && message[start] !== LF) start += 1;
      start += 1;
    }
  }
}

/** The unfolded values of the fields with one of these names. */
export function headerValues(
  message: Buffer,
  { fields }: Headers,
  ...names: readonly string[]
): string[] {
  return fields
    .filter(({ name }) => names.includes(name))
    .map((field) => headerValue(message, field));
}

/** The unfolded value of a field: UTF-8 where it is, else latin1. */
export function headerValue(message: Buffer, { start, end }: HeaderField): string {
  const text = decode(message.subarray(start, end));
  return text
    .slice(text.indexOf(':') + 1)
    .replace(/\r?\n/g, '')
    .trim();
}

/**
 * Where the header section of a message ends, in bytes from its start. Much cheaper than parsing it: for
 * who has to bound what it parses.
 */
export function headerSize(message: Buffer): number {
  if (isEmptyLine(message, 0)) return 0;
  const ends = ['\n\n', '\n\r\n'].map((end) => message.indexOf(end)).filter((at) => at >= 0);
  return ends.length === 0 ? message.length : Math.min(...ends) + 1;
}

/**
 * The message without some of its fields, and with others before the rest: as strings without a line end,
 * or as the bytes of whole fields.
 */
export function editHeaders(
  message: Buffer,
  dropped: readonly HeaderField[],
  add: readonly (string | Buffer)[] = [],
): Buffer {
  const pieces = add.map((field) =>
    typeof field === 'string' ? Buffer.from(`${field}${lineEndOf(message)}`) : field,
  );
  let kept = 0;
  for (const field of dropped) {
    pieces.push(message.subarray(kept, field.start));
    kept = field.end;
  }
  return Buffer.concat([...pieces, message.subarray(kept)]);
}

/** The line end of a message's first line. */
export function lineEndOf(message: Buffer): string {
  const newline = message.indexOf(LF);
  return newline > 0 && message[newline - 1] === CR ? '\r\n' : '\n';
}

/** Looks at no more than the name: there may be very many fields. */
function nameOf(message: Buffer, start: number): string {
  let end = start;
  while (isOfName(message[end])) end += 1;
  let at = end;
  while (message[at] === SPACE || message[at] === TAB) at += 1;
  return message[at] === COLON ? message.toString('latin1', start, end).toLowerCase() : '';
}

/** Printable ASCII but the colon (RFC 5322 3.6.8). */
function isOfName(octet: number | undefined): boolean {
  return octet !== undefined && octet > SPACE && octet < DEL && octet !== COLON;
}

function decode(bytes: Buffer): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return bytes.toString('latin1');
  }
}

/** With its continuation lines. */
function endOfField(message: Buffer, start: number): number {
  let end = endOfLine(message, start);
  while (message[end] === SPACE || message[end] === TAB) end = endOfLine(message, end);
  return end;
}

/** The place after the end of the line that has `at` in it. */
export function endOfLine(message: Buffer, at: number): number {
  const newline = message.indexOf(LF, at);
  return newline < 0 ? message.length : newline + 1;
}

function isEmptyLine(message: Buffer, at: number): boolean {
  return message[at] === LF || (message[at] === CR && message[at + 1] === LF);
}

const LF = 0x0a;
const CR = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const COLON = 0x3a;
const DEL = 0x7f;
