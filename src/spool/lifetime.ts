import { limits } from '../mail/limits.ts';

/** The start of a message's lifetime: an observed time, and the endpoint's outage counter at that time. */
export interface LifetimeStart {
  renewedAt: number;
  outageMs: number;
}

/**
 * When trouble of its own ends a message: 5 days after its lifetime began, plus the time for which the
 * endpoint was down since, but 14 days at the most. In observed time; `outageMs` is the endpoint's
 * counter now.
 */
export function expiresAt(start: LifetimeStart, outageMs: number): number {
  const outage = Math.max(0, outageMs - start.outageMs);
  return start.renewedAt + Math.min(limits.lifetimeMs + outage, limits.lifetimeWithOutagesMs);
}

/**
 * When an attempt that fails by an outage of the endpoint ends a message all the same: after 14 days, if
 * outages were what filled them. Days in which this host was off are nobody's refusal.
 */
export function outageExpiresAt(start: LifetimeStart, outageMs: number): number {
  const lifetime = limits.lifetimeWithOutagesMs;
  const outage = outageMs - start.outageMs;
  return outage >= lifetime - limits.lifetimeMs ? start.renewedAt + lifetime : Infinity;
}
