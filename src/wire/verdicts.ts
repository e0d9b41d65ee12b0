import { statuses, statusClass } from '../mail/enhanced-status.ts';
import { cut } from '../mail/cut.ts';
import { limits } from '../limits.ts';
import { isLedgerId } from './frame.ts';
import { membersOf, parseJson } from './parse-json.ts';

/** What the proxy says about one recipient. */
export interface Verdict {
  recipient: string;
  /** An enhanced status (RFC 3463): 2.x.x sent, 4.x.x try again, 5.x.x refused for good. */
  status: string;
  reason: string;
  /** The mail server whose SMTP reply the reason is, where one refused or deferred: a domain name or an address literal. */
  remoteMta?: string;
  /** The backend is still sending it: the verdict comes later (4.4.0). */
  inProgress?: true;
  /** It was sent at an earlier post, which the proxy remembers; it was not sent again. */
  sentBefore?: true;
}

/** Whether the recipient was one too many for this post; it is to be posted again. */
export function isSurplus({ status }: Verdict): boolean {
  return status === statuses.surplus;
}

/** Whether the verdict comes later. */
export function isInProgress({ inProgress }: Verdict): boolean {
  return inProgress === true;
}

/** What an answer says besides the verdicts. */
export interface AnswerExtras {
  /** A sentence for people, in the answer to a probe. */
  note?: string | undefined;
  /** The id of the proxy's ledger. */
  ledger?: string | undefined;
}

/** The body of a 200. */
export function encodeVerdicts(
  id: string,
  verdicts: readonly Verdict[],
  { note, ledger }: AnswerExtras = {},
): Buffer {
  const short = verdicts.map(
    ({ recipient, status, reason, remoteMta, inProgress, sentBefore }) => ({
      recipient,
      status,
      reason: reason.slice(0, limits.reasonChars),
      ...(remoteMta && { remote_mta: remoteMta }),
      ...(inProgress && { in_progress: true }),
      ...(sentBefore && { sent_before: true }),
    }),
  );
  return Buffer.from(`${JSON.stringify({ id, verdicts: short, note, ledger })}\n`);
}

/**
 * Reads the body of a 200 to a post of `id` for `recipients`. Only an answer that names exactly these,
 * in this order, says anything; for every other one the fault is returned as a sentence.
 */
export function decodeVerdicts(
  body: Buffer,
  id: string,
  recipients: readonly string[],
): Verdict[] | { fault: string } {
  let answer;
  try {
    answer = parseJson(body);
  } catch {
    return { fault: 'the answer is not JSON in UTF-8' };
  }
  if (answer['id'] !== id) return { fault: 'the answer is about another message' };
  if (!Array.isArray(answer['verdicts'])) return { fault: 'the answer has no verdicts' };
  const given = answer['verdicts'] as unknown[];
  if (given.length !== recipients.length) {
    return { fault: `the answer has ${given.length} verdicts for ${recipients.length} recipients` };
  }
  const verdicts: Verdict[] = [];
  for (const [position, recipient] of recipients.entries()) {
    const verdict = decodeVerdict(membersOf(given[position]), recipient);
    if ('fault' in verdict) return verdict;
    verdicts.push(verdict);
  }
  return verdicts;
}

function decodeVerdict(
  given: Record<string, unknown>,
  recipient: string,
): Verdict | { fault: string } {
  const { status, reason, remote_mta: remoteMta } = given;
  if (given['recipient'] !== recipient) return { fault: 'the answer is about other recipients' };
  const meaning = typeof status === 'string' ? statusClass(status) : undefined;
  if (typeof status !== 'string' || meaning === undefined) {
    return { fault: `the answer has a verdict that cannot be read: ${quoted(status)}` };
  }
  if (typeof reason !== 'string') return { fault: 'the answer has a verdict without a reason' };
  return {
    recipient,
    status,
    reason: reason.slice(0, limits.reasonChars),
    ...(isMta(remoteMta) && { remoteMta }),
    ...(given['in_progress'] === true && meaning === 'deferred' && { inProgress: true }),
    ...(given['sent_before'] === true && meaning === 'sent' && { sentBefore: true }),
  };
}

/** The beginning of a string, or the type of what is no string. */
function quoted(value: unknown): string {
  if (typeof value !== 'string') return typeof value;
  return JSON.stringify(value.slice(0, limits.quotedChars));
}

/** What an answer that is JSON says besides; what is absent or not valid is undefined. */
export function decodeExtras(body: Buffer): AnswerExtras {
  const { note, ledger } = parseJson(body);
  return {
    note: typeof note === 'string' ? cut(note, limits.reasonChars) : undefined,
    ledger: isLedgerId(ledger) ? ledger : undefined,
  };
}

/** A name that is not valid makes no answer faulty: it is left out. */
function isMta(name: unknown): name is string {
  return typeof name === 'string' && /^[\x21-\x7e]{1,255}$/.test(name);
}
