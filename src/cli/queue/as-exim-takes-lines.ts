/**
 * The bytes of a message as Exim is to read them: without the CR before the first LF, or at the end where there is no
 * LF. Exim takes what ends the first line for what ends all: after CR LF it joins lines that end in LF alone, and such a
 * line with the closing dot does not end the message. After LF it makes LF of each CR LF, so that it stores the same.
 */
export function* asEximTakesLines(bytes: Iterable<Buffer>): Generator<Buffer> {
  let isFirstLine = true;
  let heldCr = false;
  for (const part of bytes) {
    if (!isFirstLine || part.length === 0) {
      yield part;
      continue;
    }
    const lf = part.indexOf(LF);
    if (heldCr && lf !== 0) yield Buffer.of(CR);
    const end = lf < 0 ? part.length : lf;
    heldCr = end > 0 && part[end - 1] === CR;
    yield part.subarray(0, heldCr ? end - 1 : end);
    if (lf < 0) continue;
    yield part.subarray(lf);
    isFirstLine = false;
  }
}

const CR = 0x0d;
const LF = 0x0a;
