import type { Claimed, Capacity } from '../spool/claim.ts';
import type { EndpointRecord } from '../spool/endpoint.ts';
import type { Diagnosis } from '../wire/diagnose.ts';
import type { Attempt } from './attempt.ts';
import { decideOutcome, type DecidedOutcome, type RetryPolicy } from './decide-outcome.ts';

/** What happened to the endpoint. */
export type EndpointEvent = { kind: 'post-passed' } | { kind: 'probe-passed' } | EndpointFailure;

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
  /** Attempts that ended since the last turn. */
  attempts: readonly Attempt[];
  /** What happened to the endpoint since then, in its order. */
  events: readonly EndpointEvent[];
  /** What the spool remembers of the endpoint, and how long that was down altogether. */
  endpoint: Pick<EndpointRecord, 'downSince' | 'passedAt'>;
  outageMs: number;
  /** In how many milliseconds the endpoint is asked again; undefined while it is up. */
  askedInMs: number | undefined;
  /** How many messages are not finished and not held. */
  queued: number;
  /** How much may be claimed. */
  capacity: Capacity;
  /** Messages that are claimed only when no others are due. */
  last: ReadonlySet<Claimed['seq']>;
}

/** A turn: commitTurn writes it in one transaction, and logTurn tells the journal about it. */
export interface TurnPlan extends Pick<TurnFacts, 'now' | 'capacity' | 'last' | 'askedInMs'> {
  outcomes: DecidedOutcome[];
  endpoint: EndpointChange;
  failures: EndpointFailure[];
  /** No post has passed in all the time before this turn. */
  neverPassed: boolean;
}

/** How the endpoint's record changes; `downMs`: how long the outage was that is over, if there was one. */
type EndpointChange =
  | { to: 'up'; downMs: number | undefined }
  | { to: 'down'; reason: string | undefined; asksAt: number }
  | { to: 'same' };

/** Decides what a turn does. Pure; `random` returns numbers from [0, 1). */
export function planTurn(facts: TurnFacts, policy: RetryPolicy, random: () => number): TurnPlan {
  const { now, outageMs, attempts, events, endpoint, askedInMs, capacity, last } = facts;
  return {
    now,
    capacity,
    last,
    askedInMs,
    outcomes: attempts.map((attempt) =>
      decideOutcome(attempt, { now, outageMs, random: random() }, policy),
    ),
    endpoint: endpointChange(facts),
    failures: events.filter((event) => event.kind === 'failed'),
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
  return { to: 'up', downMs: downSince === null ? undefined : now - downSince };
}
