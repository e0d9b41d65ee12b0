import { createHash } from 'node:crypto';
import { encodeAddress } from '../mail/address.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/**
 * The Exim id under which a message is stored that came without an id of its mail server: that of the same bytes
 * (`digest`) with the same envelope that came within limits.repeatMs before `now`, which it then repeats, or a new one.
 * It is `lmtp-`, a hash of the envelope, and when the first of them came, in observed time.
 */
export function repeatId(
  spool: Spool,
  { envelope, digest }: { envelope: Envelope; digest: Buffer },
  now: number,
): string {
  const prefix = `lmtp-${envelopeHash(envelope)}-`;
  const same = spool
    .sql<{ eximId: string }>(
      `SELECT exim_id AS eximId FROM message
       WHERE exim_id > :prefix AND exim_id < :prefix || ':' AND digest = :digest`,
    )
    .all({ prefix, digest });
  const found = same.find(({ eximId }) => {
    const age = now - Number(eximId.slice(prefix.length));
    return age >= 0 && age < limits.repeatMs;
  });
  return found?.eximId ?? `${prefix}${Math.floor(now)}`;
}

/** The order of the recipients does not count. */
function envelopeHash({ sender, recipients }: Envelope): string {
  const hash = createHash('sha256');
  for (const address of [sender, ...recipients.toSorted()]) {
    hash.update(encodeAddress(address)).update('\n');
  }
  return hash.digest('hex').slice(0, 32);
}
