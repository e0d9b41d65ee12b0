import { createHash } from 'node:crypto';
import { encodeAddress } from '../mail/address.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/**
 * The Exim id under which a message is stored that came without an id of its mail server: that of the same bytes
 * (`digest`) of the same sender for some of the same recipients that came within limits.repeatMs before `now`, which it
 * then repeats, or a new one. A client that was not answered for all recipients repeats the message for the others alone.
 *
 * The id is `lmtp-`, a hash of bytes and sender, a hash of the recipients, and when the first of them came, in observed
 * time. So an exact repeat is found among any number of messages with the same bytes, and others among the
 * limits.repeatsLookedAt of these that are first by the hash of their recipients, and not the latest.
 */
export function repeatId(
  spool: Spool,
  { envelope, digest }: { envelope: Envelope; digest: Buffer },
  now: number,
): string {
  const recipients = envelope.recipients.map((recipient) => encodeAddress(recipient));
  const content = `lmtp-${hashOf([digest, encodeAddress(envelope.sender)])}-`;
  // The order of the recipients does not count.
  const exact = `${content}${hashOf(recipients.toSorted((one, other) => one.compare(other)))}-`;
  const since = timeText(now - limits.repeatMs + 1);
  const until = timeText(now);
  const same = (from: string, to: string) =>
    spool
      .sql<{ seq: number; eximId: string }>(
        `SELECT seq, exim_id AS eximId FROM message
         WHERE exim_id BETWEEN :from AND :to AND digest = :digest LIMIT :most`,
      )
      .all({ from, to, digest, most: limits.repeatsLookedAt });
  const [repeated] = same(exact + since, exact + until);
  if (repeated) return repeated.eximId;
  const has = spool.sql<{ seq: number }>(
    'SELECT message AS seq FROM recipient WHERE message = ? AND address = ?',
  );
  const overlapping = same(content, `${content}~`).find(({ seq, eximId }) => {
    const time = eximId.slice(exact.length);
    return time >= since && time <= until && recipients.some((address) => has.get(seq, address));
  });
  return overlapping?.eximId ?? exact + until;
}

/**
 * Observed time in as many digits as it ever has, so that the order of the texts is that of the times. A time before the
 * first one, as there is in the first hour of a spool, is the first.
 */
function timeText(ms: number): string {
  return String(Math.max(0, Math.floor(ms))).padStart(14, '0');
}

/** 16 hexadecimal digits. */
function hashOf(parts: readonly Buffer[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\n');
  return hash.digest('hex').slice(0, 16);
}
