import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/** The start of a message's lifetime: an observed time, and the endpoint's outage counter at that time. */
export interface LifetimeStart {
  renewedAt: number;
  outageMs: number;
}

/**
 * When trouble of its own ends a message: `ms`, the lifetime of messages (5 days), after that began, plus the time for
 * which the endpoint was down since, but at most 9 days of it. In observed time; `outageMs` is the endpoint's counter now.
 */
export function expiresAt(start: LifetimeStart, outageMs: number, ms: number): number {
  const outage = Math.max(0, outageMs - start.outageMs);
  return start.renewedAt + ms + Math.min(outage, limits.outagesAddedMs);
}

/**
 * When an attempt that fails because the endpoint is down ends a message all the same: 9 days after its lifetime, if
 * outages filled these 9 days. Days in which this host was off do not count: nobody refused the message then.
 */
export function outageExpiresAt(start: LifetimeStart, outageMs: number, ms: number): number {
  const isFilled = outageMs - start.outageMs >= limits.outagesAddedMs;
  return isFilled ? start.renewedAt + ms + limits.outagesAddedMs : Infinity;
}

/** The lifetime of messages, as the drain that worked on the spool last had it from its options. */
export function lifetimeMs(spool: Spool): number {
  const row = spool.sql<{ ms: number }>('SELECT lifetime_ms AS ms FROM endpoint').get();
  return row?.ms ?? limits.lifetimeMs;
}

/** Stores the lifetime for the commands that show when messages expire. For a drain that starts. */
export function setLifetime(spool: Spool, ms: number): void {
  spool.transaction(() => spool.sql('UPDATE endpoint SET lifetime_ms = ?').run(ms));
}
