import { setImmediate } from 'node:timers/promises';

/**
 * A text with LF in the place of each CR LF, and of each CR alone. Millions of them take seconds: others have their turn
 * meanwhile.
 */
export async function inLf(text: string): Promise<string> {
  let done = '';
  for (let at = 0, end = 0; at < text.length; at = end) {
    if (at > 0) await setImmediate();
    end = at + SLICE;
    if (text.startsWith('\r\n', end - 1)) end += 1;
    done += text.slice(at, end).replace(/\r\n?/g, '\n');
  }
  return done;
}

const SLICE = 65_536;
