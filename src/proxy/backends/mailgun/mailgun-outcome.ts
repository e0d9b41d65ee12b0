import type { Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import type { Response } from '../../../wire/exchange.ts';
import type { CallOutcome } from '../provider/call-outcome.ts';
import { jsonOf } from '../provider/json-of.ts';
import { providerRetryMs } from '../provider/provider-retry-ms.ts';

/**
 * What an answer of Mailgun to a message comes to. Errors that it does not have a row for are temporary. README.md in this
 * folder has the table.
 */
export function mailgunOutcome(response: Response, clock: Pick<Clock, 'wallNow'>): CallOutcome {
  const { status, body } = response;
  const { id, message } = jsonOf(body);
  if (status === 200) return taken(id);
  const text = typeof message === 'string' ? message : '';
  const reason = `Mailgun answered ${status}${text && `: ${text}`}`;
  if (status === 400) return badRequest(text, reason);
  if (status === 413) return { kind: 'refused', status: statuses.tooLarge, reason };
  if (status === 429) {
    const retryAfterMs = providerRetryMs(response, limits.providerSlowerMs, clock);
    return { kind: 'throttled', reason, retryAfterMs };
  }
  if (status >= 300 && status < 500) {
    const retryAfterMs = providerRetryMs(response, limits.providerRefusedMs, clock);
    return { kind: 'unavailable', reason, retryAfterMs };
  }
  // Mailgun asks for another try after these; a gateway may have passed the message on.
  if (status !== 500 && status !== 503) return { kind: 'unknown', reason };
  const retryAfterMs = providerRetryMs(response, limits.providerSlowerMs, clock);
  return { kind: 'unavailable', reason, retryAfterMs };
}

function taken(id: unknown): CallOutcome {
  if (typeof id === 'string') return { kind: 'sent', reason: `taken by Mailgun as ${id}` };
  return { kind: 'unknown', reason: 'Mailgun answered 200 without an id' };
}

/** A 400 is about a recipient, the message, or the account, where Mailgun says so; by any other this message alone waits. */
function badRequest(text: string, reason: string): CallOutcome {
  const isAddress = /not a valid address|not valid address|invalid (?:recipient|address)/i;
  // An address in From is no recipient's.
  if (isAddress.test(text) && !/'from'/i.test(text)) return { kind: 'badAddress', reason };
  if (/too large|size limit|exceeds.*size/i.test(text)) {
    return { kind: 'refused', status: statuses.tooLarge, reason };
  }
  if (OF_ACCOUNT.test(text)) {
    return { kind: 'unavailable', reason, retryAfterMs: limits.providerQuotaMs };
  }
  return { kind: 'refused', status: statuses.trouble, reason };
}

const OF_ACCOUNT =
  /sandbox|free accounts|authorized recipients|not allowed to send|\b(?:account|domain)\b.*\bdisabled|unverified|not verified|suspended/i;
