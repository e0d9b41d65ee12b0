import { limits } from '../limits.ts';
import type { Spool } from './spool.ts';

/** The start of a message's lifetime: an observed time, and the endpoint's outage counter at that time. */
export interface LifetimeStart {
  renewedAt: number;
  outageMs: number;
}

/**
 * When trouble of its own ends a message: its lifetime (5 days) after that began, plus the time for which the
 * endpoint was down since, but 9 days of that at the most. In observed time; `outageMs` is the endpoint's
 * counter now.
 */
export function expiresAt(start: LifetimeStart, outageMs: number, lifetimeMs: number): number {
  const outage = Math.max(0, outageMs - start.outageMs);
  return start.renewedAt + lifetimeMs + Math.min(outage, limits.outagesAddedMs);
}

/**
 * When an attempt that fails by an outage of the endpoint ends a message all the same: 9 days after its lifetime, if
 * outages were what filled these. Days in which this host was off are nobody's refusal.
 */
export function outageExpiresAt(
  start: LifetimeStart,
  outageMs: number,
  lifetimeMs: number,
): number {
  const isFilled = outageMs - start.outageMs >= limits.outagesAddedMs;
  return isFilled ? start.renewedAt + lifetimeMs + limits.outagesAddedMs : Infinity;
}

/** The lifetime of messages, as the drain that worked on the spool last had it from its options. */
export function lifetimeMs(spool: Spool): number {
  const row = spool.sql<{ ms: number }>('SELECT lifetime_ms AS ms FROM endpoint').get();
  return row?.ms ?? limits.lifetimeMs;
}

/** Notes the lifetime for whoever shows when messages expire. For a drain that starts. */
export function setLifetime(spool: Spool, lifetimeMs: number): void {
  spool.transaction(() => spool.sql('UPDATE endpoint SET lifetime_ms = ?').run(lifetimeMs));
}
