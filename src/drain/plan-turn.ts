import type { Claimed, Capacity } from '../spool/claim.ts';
import type { EndpointRecord, Fallback } from '../spool/endpoint.ts';
import type { PostedTo } from '../spool/posted-to.ts';
import type { Diagnosis } from '../wire/diagnose.ts';
import type { Attempt } from './attempt.ts';
import { decideOutcome, type DecidedOutcome, type RetryPolicy } from './decide-outcome.ts';

/** What happened to the endpoint: to all proxies as one, or to one of them. */
export type EndpointEvent =
  ({ kind: 'post-passed' | 'probe-passed' } & Passed) | EndpointFailure | ProxyFailure;

/** A proxy took a post or a probe. */
interface Passed {
  by?: PostedTo;
  /** Which proxy is used now; undefined when this says nothing of that. */
  uses?: ProxyInUse | undefined;
}

/** The proxy in use, and why it is not the first, if it is not. */
export interface ProxyInUse {
  url: string;
  fallback: Omit<Fallback, 'since'> | null;
}

/** A proxy failed while others answer, or may do so. */
export interface ProxyFailure {
  kind: 'passed-over';
  url: string;
  diagnosis: Diagnosis;
  isReported: boolean;
}

/** The endpoint failed, so many times in a row, and is left alone for a while. */
export interface EndpointFailure {
  kind: 'failed';
  diagnosis: Diagnosis;
  failures: number;
  waitMs: number;
  /** Whether the operator has to hear now what to do about it. */
  isReported: boolean;
}

/** What drain knows when a turn begins. */
export interface TurnFacts {
  /** Observed time. */
  now: number;
  /** Attempts that ended and are not recorded yet, the oldest first, limits.turnMessages at most. */
  attempts: readonly Attempt[];
  /** What happened to the endpoint since the last turn, in its order. */
  events: readonly EndpointEvent[];
  /** What the spool remembers of the endpoint, and how long that was down altogether. */
  endpoint: Pick<EndpointRecord, 'downSince' | 'passedAt' | 'fallback'>;
  outageMs: number;
  /** In how many milliseconds the endpoint is asked again; undefined while it is up. */
  askedInMs: number | undefined;
  /** The proxy that is used, with its ledger. */
  postTo?: PostedTo | undefined;
  /** How many messages are not finished and not held. */
  queued: number;
  /** How much may be claimed. */
  capacity: Capacity;
  /** Messages that are claimed only when no others are due. */
  last: ReadonlySet<Claimed['seq']>;
}

/** A turn: commitTurn writes it in one transaction, and logTurn tells the journal about it. */
export interface TurnPlan extends Pick<
  TurnFacts,
  'now' | 'capacity' | 'last' | 'askedInMs' | 'postTo'
> {
  outcomes: DecidedOutcome[];
  endpoint: EndpointChange;
  failures: (EndpointFailure | ProxyFailure)[];
  /** Proxies that answer again: what waits for them is due. */
  answering: PostedTo[];
  /** No post has passed in all the time before this turn. */
  neverPassed: boolean;
}

/**
 * How the endpoint's record changes; `downMs`: how long the outage was that is over, if there was one; `uses`: the proxy
 * in use, where that is another one than before.
 */
type EndpointChange =
  | { to: 'up'; downMs: number | undefined; uses?: ProxyInUse }
  | { to: 'down'; reason: string | undefined; asksAt: number }
  | { to: 'same' };

/** Decides what a turn does. Pure; `random` returns numbers from [0, 1). */
export function planTurn(facts: TurnFacts, policy: RetryPolicy, random: () => number): TurnPlan {
  const { now, outageMs, attempts, events, endpoint, askedInMs, capacity, last, postTo } = facts;
  return {
    now,
    capacity,
    last,
    askedInMs,
    postTo,
    outcomes: attempts.map((attempt) =>
      decideOutcome(attempt, { now, outageMs, random: random() }, policy),
    ),
    endpoint: endpointChange(facts),
    failures: events.filter((event) => event.kind === 'failed' || event.kind === 'passed-over'),
    answering: events.flatMap((event) =>
      event.kind === 'probe-passed' && event.by ? [event.by] : [],
    ),
    neverPassed: endpoint.passedAt === null,
  };
}

function endpointChange({ now, events, endpoint, askedInMs, queued }: TurnFacts): EndpointChange {
  if (askedInMs !== undefined) {
    // Its latest state counts: a post that passed before the failure may have ended only after it. A post that was in
    // flight with the one that found it down may have made the wait longer.
    const failure = events.findLast((event) => event.kind === 'failed');
    return { to: 'down', reason: failure?.diagnosis.text, asksAt: now + Math.round(askedInMs) };
  }
  const happened = (kind: EndpointEvent['kind']) => events.some((event) => event.kind === kind);
  // While posts may still be refused, the outage is over only when one passes.
  const isUp = happened('post-passed') || (happened('probe-passed') && queued === 0);
  if (!isUp) return { to: 'same' };
  const { downSince } = endpoint;
  const downMs = downSince === null ? undefined : now - downSince;
  const uses = events
    .flatMap((event) => ('uses' in event && event.uses ? [event.uses] : []))
    .at(-1);
  const isNews = uses && uses.fallback?.url !== endpoint.fallback?.url;
  return { to: 'up', downMs, ...(isNews && { uses }) };
}
