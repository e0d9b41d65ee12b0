import { limits } from '../../limits.ts';

/** What Exim can be asked: how it routes addresses, one a line, or to take a message in batch SMTP. */
export type EximRequest = 'route' | 'take';

/** How a run of Exim ended. */
export interface EximRun {
  /** Null when it was killed, as it is after limits.eximMs and limits.eximOutputBytes. */
  code: number | null;
  /** Whether it has read all of its input. */
  readAll: boolean;
  stdout: string;
  stderr: string;
}

/** The answer to a request, a line of JSON: how the run ended, or why there was none. */
export type EximAnswer = EximRun | { fault: string };

/** How a request begins: one octet. Frames follow, each with its length (4 octets, big-endian) before it. */
export const OPCODES: Record<EximRequest, number> = { route: 0x72, take: 0x74 };

/** In the place of a length: the input ends here. Of batch SMTP without its closing dot Exim takes nothing. */
export const END = 0;

export const LENGTH_BYTES = 4;

export function lengthField(bytes: number): Buffer {
  const field = Buffer.alloc(LENGTH_BYTES);
  field.writeUInt32BE(bytes);
  return field;
}

/** The frames of an input; small pieces share one. */
export function* framesOf(input: Iterable<Buffer>): Generator<Buffer> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  for (const piece of input) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < limits.inputBytes) continue;
    yield Buffer.concat([lengthField(bytes), ...pieces]);
    [pieces, bytes] = [[], 0];
  }
  if (bytes > 0) yield Buffer.concat([lengthField(bytes), ...pieces]);
}
