import type { EndpointRecord } from '../../spool/endpoint.ts';
import type { Listed } from '../../spool/list.ts';
import type { ShownTime } from '../../sqlite/shown-time.ts';

/** What `queue --json` says of a message: times RFC 3339 in UTC, what is absent is null. */
export function entryFields(message: Listed, shown: ShownTime): Record<string, unknown> {
  return {
    id: message.id,
    exim_id: message.eximId,
    state: message.state,
    sender: message.sender,
    recipients: message.recipients,
    size: message.size,
    queued_at: time(message.queuedAt),
    due_at: time(dueTime(message, shown)),
    attempts: message.attempts,
    last_status: message.lastStatus,
    last_reason: message.lastReason,
    expires_at: time(shown.wall(message.expiresAt)),
  };
}

/** The time of day when a message is due; what is new is due since it was queued, whatever exim-pipe knew of the time. */
export function dueTime({ dueAt, queuedAt }: Listed, { wall }: ShownTime): number | null {
  return dueAt === null ? null : Math.max(wall(dueAt), queuedAt);
}

/** Milliseconds since 1970 as RFC 3339 in UTC, or null. */
export function time<Time extends number | null>(ms: Time): Time extends null ? null : string;
export function time(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** The fields about the proxy in use, where it is not the first. */
export function fallbackFields(
  { fallback }: EndpointRecord,
  wall: ShownTime['wall'],
): Record<string, unknown> {
  return {
    fallback_url: fallback?.url ?? null,
    fallback_reason: fallback?.reason ?? null,
    fallback_since: time(wall(fallback?.since ?? null)),
  };
}
