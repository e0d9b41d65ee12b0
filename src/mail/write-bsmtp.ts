import { encodeAddress } from './address.ts';
import type { Envelope } from './envelope.ts';

/**
 * A message in batch SMTP, as exim-pipe reads it and `exim -bS` does: the envelope, then its bytes with
 * leading dots doubled and their last line ended, then the closing dot, without which nobody takes it
 * (RFC 5321 4.5.2). Addresses must have no line end.
 */
export function* writeBsmtp(
  { sender, recipients }: Envelope,
  bytes: Iterable<Buffer>,
): Generator<Buffer> {
  yield command('MAIL FROM:', sender);
  for (const recipient of recipients) yield command('RCPT TO:', recipient);
  yield Buffer.from('DATA\n');
  let last = LF;
  for (const part of bytes) {
    let from = 0;
    for (let at = part.indexOf(DOT); at >= 0; at = part.indexOf(DOT, at + 1)) {
      if ((at === 0 ? last : part[at - 1]) !== LF) continue;
      yield part.subarray(from, at + 1);
      from = at;
    }
    yield part.subarray(from);
    last = part.at(-1) ?? last;
  }
  yield Buffer.from(last === LF ? '.\n' : '\n.\n');
}

function command(verb: string, address: string): Buffer {
  return Buffer.concat([Buffer.from(`${verb}<`), encodeAddress(address), Buffer.from('>\n')]);
}

const LF = 0x0a;
const DOT = 0x2e;
