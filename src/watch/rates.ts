import type { FigureBook } from './figure-book.ts';

/** What of the figures rates are made of, and when that was: milliseconds of observed time. */
export interface RatePoint {
  at: number;
  accepted: number;
  /** Messages that are neither finished nor held. */
  waiting: number;
}

/** Messages a second that come into the queue and leave it. */
export interface Rates {
  in: number;
  out: number;
}

/** When the queue will be empty, as it goes now. */
export type Eta = { kind: 'empty' } | { kind: 'in'; ms: number } | { kind: 'never' };

export function ratePoint(at: number, figures: FigureBook): RatePoint {
  const waiting = figures.get('messages', 'queued') + figures.get('messages', 'sending');
  return { at, accepted: figures.get('entered', 'accepted'), waiting };
}

/**
 * The rates from the latest point that is at least so old to the last one, or from the first one there is; undefined where
 * that is no time. Points are in their order.
 */
export function ratesOf(points: readonly RatePoint[], windowMs: number): Rates | undefined {
  const last = points.at(-1);
  if (!last) return undefined;
  const first = points.findLast(({ at }) => at <= last.at - windowMs) ?? points[0];
  const seconds = (last.at - (first?.at ?? last.at)) / 1000;
  if (!first || seconds <= 0) return undefined;
  const came = last.accepted - first.accepted;
  const left = came - (last.waiting - first.waiting);
  // A message that was released comes back without having been accepted.
  return { in: came / seconds, out: Math.max(0, left / seconds) };
}

/** When `waiting` messages have left at these rates. */
export function etaOf(waiting: number, rates: Rates | undefined): Eta {
  if (waiting === 0) return { kind: 'empty' };
  const net = rates === undefined ? 0 : rates.out - rates.in;
  return net > 0 ? { kind: 'in', ms: (waiting / net) * 1000 } : { kind: 'never' };
}
