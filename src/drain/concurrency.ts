import { limits } from '../limits.ts';

/** How many posts may be in flight to a proxy, and what that is judged by. Times are monotonic milliseconds. */
export interface Concurrency {
  /** Whole posts of it may be in flight. */
  readonly limit: number;
  /** Each post that passes adds one, so that they double with each round trip, until they wait too long. */
  readonly isRising: boolean;
  /** How long a post takes while few are in flight; undefined before the first measurement. */
  readonly aloneMs: number | undefined;
  /** When the next measurement of that is due. */
  readonly measuresAt: number;
  /** During a measurement, the limit that holds again after it. */
  readonly limitAfter: number | undefined;
  /** The posts that were begun since the last change of the limit, and have passed. */
  readonly round: Round;
}

interface Round {
  readonly since: number;
  readonly posts: number;
  readonly sumMs: number;
  /** Posts in flight at most, in this round and in the one before. */
  readonly inFlight: number;
  readonly inFlightBefore: number;
}

/** A post that was answered with verdicts. */
export interface PassedPost {
  beganAt: number;
  now: number;
  /** Posts in flight when the answer came, this one among them. */
  inFlight: number;
}

/** Before anything is known of a proxy. */
export const oneAtOnce: Concurrency = {
  limit: 1,
  isRising: true,
  aloneMs: undefined,
  measuresAt: -Infinity,
  limitAfter: undefined,
  round: { since: -Infinity, posts: 0, sumMs: 0, inFlight: 0, inFlightBefore: 0 },
};

/**
 * How many posts may be in flight after one has passed. Pure. As congestion control by delay does (TCP Vegas, LEDBAT of
 * RFC 6817), it compares how long posts take with how long they take alone: so many are in flight that they take twice as
 * long and limits.queuedMs more. So a proxy is kept busy, whether it is far away, fast, or slow by its relay, and no long
 * queue grows there. Means are compared, since some posts are slow by themselves. Once in limits.measureEveryMs there is
 * a measurement: for one round no more than limits.inFlightMin are in flight. Nothing grows beyond double of what was in
 * flight (as in RFC 7661).
 */
export function afterPost(before: Concurrency, post: PassedPost): Concurrency {
  const { limit, isRising, aloneMs, limitAfter } = before;
  const { now } = post;
  const round = withPost(before.round, post);
  const most = Math.min(Math.max(limit, 2 * mostInFlight(round)), limits.inFlight);
  const risen = isRising && limitAfter === undefined ? Math.min(limit + 1, most) : limit;
  if (round.posts < Math.max(limit, limits.inFlightMin)) return { ...before, limit: risen, round };

  const meanMs = round.sumMs / round.posts;
  const next = { ...before, limit: risen, round: roundAfter(round, now) };
  if (aloneMs === undefined || limitAfter !== undefined) {
    const measured = {
      aloneMs: meanMs,
      measuresAt: now + limits.measureEveryMs,
      limitAfter: undefined,
    };
    return { ...next, ...measured, limit: limitAfter ?? risen };
  }
  if (now >= before.measuresAt) {
    return { ...next, limit: Math.min(risen, limits.inFlightMin), limitAfter: risen };
  }
  const growth = (2 * aloneMs + limits.queuedMs) / meanMs;
  if (isRising && growth >= 1) return next;
  const wanted = limit * Math.min(Math.max(growth, 0.5), 2);
  const least = Math.min(limit, limits.inFlightMin);
  return { ...next, limit: Math.min(Math.max(wanted, least), most), isRising: false };
}

function withPost(round: Round, { beganAt, now, inFlight }: PassedPost): Round {
  const most = { ...round, inFlight: Math.max(round.inFlight, inFlight) };
  if (beganAt < round.since) return most;
  return { ...most, posts: round.posts + 1, sumMs: round.sumMs + now - beganAt };
}

function roundAfter({ inFlight }: Round, now: number): Round {
  return { since: now, posts: 0, sumMs: 0, inFlight: 0, inFlightBefore: inFlight };
}

function mostInFlight({ inFlight, inFlightBefore }: Round): number {
  return Math.max(inFlight, inFlightBefore);
}
