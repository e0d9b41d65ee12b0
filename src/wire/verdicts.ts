import { statusClass } from '../mail/enhanced-status.ts';
import { cut } from '../mail/cut.ts';
import { limits } from '../limits.ts';

/** What the proxy says of one recipient. */
export interface Verdict {
  recipient: string;
  /** An enhanced status (RFC 3463): 2.x.x sent, 4.x.x try again, 5.x.x refused for good. */
  status: string;
  reason: string;
  /** The mail server whose SMTP reply the reason is, where one refused or deferred: a domain name or an address literal. */
  remoteMta?: string;
  /** The backend is still sending it: the verdict comes later (4.4.0). */
  inProgress?: true;
  /** An earlier post had it sent: the proxy remembers that, and did not send it again. */
  sentBefore?: true;
}

/** The body of a 200; `note`: what a probe is told for people. */
export function encodeVerdicts(id: string, verdicts: readonly Verdict[], note?: string): Buffer {
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
  return Buffer.from(`${JSON.stringify({ id, verdicts: short, note })}\n`);
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
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return { fault: 'the answer is not JSON in UTF-8' };
  }
  const answer = (json ?? {}) as Record<string, unknown>;
  if (answer['id'] !== id) return { fault: 'the answer is about another message' };
  if (!Array.isArray(answer['verdicts'])) return { fault: 'the answer has no verdicts' };
  const given = answer['verdicts'] as unknown[];
  if (given.length !== recipients.length) {
    return { fault: `the answer has ${given.length} verdicts for ${recipients.length} recipients` };
  }
  const verdicts: Verdict[] = [];
  for (const [position, recipient] of recipients.entries()) {
    const verdict = (given[position] ?? {}) as Record<string, unknown>;
    const { status, reason, remote_mta: remoteMta } = verdict;
    if (verdict['recipient'] !== recipient)
      return { fault: 'the answer is about other recipients' };
    if (typeof status !== 'string' || !statusClass(status)) {
      const shown =
        typeof status === 'string'
          ? JSON.stringify(status.slice(0, limits.quotedChars))
          : typeof status;
      return { fault: `the answer has a verdict that cannot be read: ${shown}` };
    }
    if (typeof reason !== 'string') return { fault: 'the answer has a verdict without a reason' };
    const inProgress = verdict['in_progress'] === true && statusClass(status) === 'deferred';
    const sentBefore = verdict['sent_before'] === true && statusClass(status) === 'sent';
    verdicts.push({
      recipient,
      status,
      reason: reason.slice(0, limits.reasonChars),
      ...(isMta(remoteMta) && { remoteMta }),
      ...(inProgress && { inProgress }),
      ...(sentBefore && { sentBefore }),
    });
  }
  return verdicts;
}

/** What the proxy tells people in its answer to a probe, which decodeVerdicts has read; undefined when nothing. */
export function decodeNote(body: Buffer): string | undefined {
  const { note } = JSON.parse(body.toString()) as { note?: unknown };
  return typeof note === 'string' ? cut(note, limits.reasonChars) : undefined;
}

/** A name that is not valid makes no answer faulty: it is left out. */
function isMta(name: unknown): name is string {
  return typeof name === 'string' && /^[\x21-\x7e]{1,255}$/.test(name);
}
