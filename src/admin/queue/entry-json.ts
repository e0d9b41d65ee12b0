import type { Listed } from '../../spool/list.ts';

/** A message as `queue --json` prints it. */
export function entryJson(message: Listed): string {
  return JSON.stringify(entryFields(message));
}

/** What `queue --json` says of a message: times RFC 3339 in UTC, what is absent is null. */
export function entryFields(message: Listed): Record<string, unknown> {
  return {
    id: message.id,
    exim_id: message.eximId,
    state: message.state,
    sender: message.sender,
    recipients: message.recipients,
    size: message.size,
    queued_at: time(message.queuedAt),
    due_at: time(message.dueAt),
    attempts: message.attempts,
    last_status: message.lastStatus,
    last_reason: message.lastReason,
    expires_at: time(message.expiresAt),
  };
}

/** RFC 3339 in UTC, or null. */
export function time(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
