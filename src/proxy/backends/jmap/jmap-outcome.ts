import { limits } from '../../../limits.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import type { CallOutcome } from '../provider/call-outcome.ts';

/** Why an object was not created (RFC 8620 5.3), or a method not executed (RFC 8620 3.6.2). */
export interface JmapError {
  type: string;
  description?: unknown;
  /** Of invalidRecipients. */
  invalidRecipients?: unknown;
  /** Of tooManyRecipients. */
  maxRecipients?: unknown;
  /** Of alreadyExists: the email with the same bytes. */
  existingId?: unknown;
}

/**
 * What an error of a JMAP server to Email/import or EmailSubmission/set comes to. An error that has no row is temporary, and
 * concerns this message; so does forbiddenToSend, which Cyrus answers to any refusal of its own relay. README.md in this
 * folder has the table.
 */
export function jmapOutcome({ type, description }: JmapError): CallOutcome {
  const text = typeof description === 'string' ? `: ${description}` : '';
  const reason = `the JMAP server answered ${type}${text}`;
  if (type === 'smtpProtocolError' && !SMTP_REFUSAL.test(String(description))) {
    return { kind: 'unknown', reason };
  }
  const status = REFUSED[type];
  if (status !== undefined) return { kind: 'refused', status, reason };
  if (type === 'rateLimit') {
    return { kind: 'throttled', reason, retryAfterMs: limits.providerSlowerMs };
  }
  const retryAfterMs = UNAVAILABLE[type];
  if (retryAfterMs !== undefined) return { kind: 'unavailable', reason, retryAfterMs };
  return { kind: 'refused', status: statuses.trouble, reason };
}

/** Whether some recipients may be refused for now and not all, without their names: as Cyrus does when its relay answers 4xx. */
export function mayBeOfSome({ type, description }: JmapError): boolean {
  if (type === 'forbiddenToSend') return true;
  return type === 'smtpProtocolError' && String(description).startsWith('4.');
}

/**
 * An error between Cyrus IMAP and its SMTP server has the text of that server's last answer. A refusal begins with a status.
 * Any other text is of an earlier answer, such as that to DATA: the answer to the message never came, and it may be sent.
 */
const SMTP_REFUSAL = /^[45]\.\d{1,3}\.\d{1,3}(?!\S)/;

const REFUSED: Partial<Record<string, string>> = {
  forbiddenMailFrom: statuses.senderRefused,
  forbiddenFrom: statuses.senderRefused,
  tooLarge: statuses.tooLarge,
  invalidEmail: statuses.badContent,
};

/** What is about the account or the server, with the wait until it is asked again. */
const UNAVAILABLE: Partial<Record<string, number>> = {
  forbidden: limits.providerRefusedMs,
  overQuota: limits.providerQuotaMs,
  serverUnavailable: limits.providerSlowerMs,
  serverFail: limits.providerSlowerMs,
  accountNotFound: limits.providerRefusedMs,
  accountNotSupportedByMethod: limits.providerRefusedMs,
  accountReadOnly: limits.providerRefusedMs,
  unknownMethod: limits.providerRefusedMs,
};
