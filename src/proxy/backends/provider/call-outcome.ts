import { limits } from '../../../limits.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import { BackendThrottledError, BackendUnavailableError, type Result } from '../backend.ts';
import { batchesOf, inBatches } from './in-batches.ts';

/** What a provider's answer to a call comes to for the recipients of the call. */
export type CallOutcome =
  | { kind: 'sent'; reason: string }
  /** Not sent, for now or for good, as the status says. */
  | { kind: 'refused'; status: string; reason: string }
  /** Not sent to any recipient, because the address of one is not valid, and it is not known which. */
  | { kind: 'badAddress'; reason: string }
  /** Not sent: the provider takes no mail from us at present, whatever the message. */
  | { kind: 'unavailable'; reason: string; retryAfterMs?: number | undefined }
  /** Not sent: the provider has got too much in a short time. */
  | { kind: 'throttled'; reason: string; retryAfterMs: number }
  /** It may have been sent. */
  | { kind: 'unknown'; reason: string };

/**
 * The results of a call, and of further ones where an address is not valid: for half of the recipients each, until it is
 * found. Rejects with BackendUnavailableError when nothing was sent, and the message is not the cause.
 */
export async function callResults(
  recipients: readonly string[],
  call: (recipients: readonly string[]) => Promise<CallOutcome>,
): Promise<Result[]> {
  const outcome = await call(recipients);
  if (outcome.kind !== 'badAddress' || recipients.length === 1) {
    return resultsOf(outcome, recipients);
  }
  const half = Math.ceil(recipients.length / 2);
  return inBatches(batchesOf(recipients, half), async (part) => callResults(part, call));
}

function resultsOf(outcome: CallOutcome, recipients: readonly string[]): Result[] {
  const { kind } = outcome;
  const reason = outcome.reason.replace(/\s+/g, ' ').slice(0, limits.reasonChars);
  if (kind === 'unavailable') throw new BackendUnavailableError(reason, outcome.retryAfterMs);
  if (kind === 'throttled') throw new BackendThrottledError(reason, outcome.retryAfterMs);
  return recipients.map((recipient) => {
    if (kind === 'unknown') return { recipient, unknown: reason };
    if (kind === 'sent') return { recipient, status: statuses.sent, reason };
    const status = kind === 'badAddress' ? statuses.badRecipient : outcome.status;
    return { recipient, status, reason };
  });
}
