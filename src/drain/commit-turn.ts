import { readSmallBodies, requireSoundTree } from '../spool/body.ts';
import { claim, type Claimed } from '../spool/claim.ts';
import { recordDown, recordPassed } from '../spool/endpoint.ts';
import { addFigures } from '../spool/figures.ts';
import { makeWaitingDue, proxyNumber } from '../spool/posted-to.ts';
import { record } from '../spool/record.ts';
import { holdForOperator } from '../spool/hold-for-operator.ts';
import type { Spool } from '../spool/spool.ts';
import { queuedMessages } from '../spool/stats.ts';
import type { TurnPlan } from './plan-turn.ts';
import { turnFigures } from './turn-figures.ts';

/** What a turn came to. */
interface Turn {
  claimed: Claimed[];
  queued: number;
}

/**
 * Writes what a turn decided and claims what is due, in one transaction. Returns the claimed messages, and how
 * many are queued then. Throws what the spool throws; nothing is written then.
 */
export function commitTurn(spool: Spool, plan: TurnPlan): Turn {
  const { now, endpoint, outcomes, answering, capacity, last, postTo } = plan;
  const turn = spool.transaction(() => {
    if (endpoint.to === 'up') recordPassed(spool, now, endpoint.uses?.fallback);
    if (endpoint.to === 'down') recordDown(spool, endpoint.reason, now, endpoint.asksAt);
    record(spool, outcomes, now);
    for (const outcome of outcomes) {
      if (outcome.attempt.damage !== undefined) requireSoundTree(spool, outcome.seq);
      if (outcome.hold) holdForOperator(spool, outcome.seq, outcome.hold);
    }
    addFigures(spool, turnFigures(plan, spool.clock.wallNow()));
    for (const proxy of answering) {
      proxyNumber(spool, proxy, now);
      makeWaitingDue(spool, proxy, now);
    }
    const isClaiming = capacity.messages > 0 && postTo !== undefined;
    const postedTo = isClaiming ? proxyNumber(spool, postTo, now) : null;
    const claimed = claim(spool, capacity, now, { last, postedTo });
    return { claimed, queued: queuedMessages(spool) };
  });
  const bodies = readSmallBodies(spool, turn.claimed);
  for (const message of turn.claimed) message.body = bodies.get(message.seq);
  return turn;
}
