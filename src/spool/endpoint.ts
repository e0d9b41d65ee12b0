import type { Spool } from './spool.ts';

/**
 * Posts go to another proxy than the first of GMAIL_PROXY_URL, or to another address of its name: to which ("URL" or
 * "URL at ADDRESS"), why, and since when in observed time.
 */
export interface Fallback {
  url: string;
  reason: string;
  since: number;
}

/** What the spool remembers of the endpoint, the same for all messages. Times are observed time but for `passedAt`. */
export interface EndpointRecord {
  /** When the present outage began; null while a proxy answers. */
  downSince: number | null;
  /** Why it is down. */
  reason: string | null;
  /** When drain asks it next, as it was last decided; null while it answers. */
  asksAt: number | null;
  /** When a post last passed, for people: milliseconds since 1970; null when none ever did. */
  passedAt: number | null;
  /** How often an operator wanted drain to ask it at once; see callEndpoint. */
  calls: number;
  /** Null while posts go to the first proxy. */
  fallback: Fallback | null;
}

/** Says to which proxy mail goes in place of the first, and why. */
export function fallbackText({ url, reason }: Omit<Fallback, 'since'>): string {
  return `mail goes to ${url}, because the first proxy does not take it: ${reason}`;
}

interface FallbackColumns {
  url: string | null;
  fallbackReason: string;
  since: number;
}

/** Reads what the spool remembers of the endpoint. */
export function endpointRecord(spool: Spool): EndpointRecord {
  const row = spool
    .sql<FallbackColumns & Omit<EndpointRecord, 'fallback'>>(
      `SELECT down_since AS downSince, reason, asks_at AS asksAt, passed_at AS passedAt, calls,
         fallback_url AS url, fallback_reason AS fallbackReason, fallback_since AS since
       FROM endpoint`,
    )
    .get();
  if (!row) throw new Error('the spool has lost its endpoint row');
  const { url, fallbackReason, since, ...record } = row;
  return { ...record, fallback: url === null ? null : { url, reason: fallbackReason, since } };
}

/**
 * How long the endpoint has been down altogether, in milliseconds, the present outage included. A
 * message keeps the value of when its lifetime began: the difference is the outage it lived through,
 * whatever the number of messages.
 */
export function outageMs(spool: Spool, now: number): number {
  const row = spool
    .sql<{ ms: number }>(
      `SELECT outage_ms + max(0, :now - coalesce(down_since, :now)) AS ms FROM endpoint`,
    )
    .get({ now });
  return row?.ms ?? 0;
}

/** Begins an outage, or renews when drain asks next and, where it is given, the reason. */
export function recordDown(
  spool: Spool,
  reason: string | undefined,
  now: number,
  asksAt: number,
): void {
  spool
    .sql(
      `UPDATE endpoint SET down_since = coalesce(down_since, :now), reason = coalesce(:reason, reason),
         asks_at = :asksAt`,
    )
    .run({ reason: reason ?? null, now, asksAt });
}

/**
 * Notes that a post passed, which ends an outage; and where `fallback` is given, that posts go to that proxy from now on,
 * or to the first again (null).
 */
export function recordPassed(
  spool: Spool,
  now: number,
  fallback?: Omit<Fallback, 'since'> | null,
): void {
  spool
    .sql(
      `UPDATE endpoint SET outage_ms = :outageMs, down_since = NULL, reason = NULL, asks_at = NULL,
         passed_at = :wall`,
    )
    .run({ outageMs: outageMs(spool, now), wall: spool.clock.wallNow() });
  if (fallback === undefined) return;
  const { url, reason } = fallback ?? { url: null, reason: null };
  spool
    .sql(
      `UPDATE endpoint SET fallback_url = :url, fallback_reason = :reason,
         fallback_since = iif(:url IS NULL, NULL, :now)`,
    )
    .run({ url, reason, now });
}

/** Has drain ask the endpoint now, whatever it waits for: an operator says that the cause is gone. */
export function callEndpoint(spool: Spool): void {
  spool.sql('UPDATE endpoint SET calls = calls + 1').run();
}
