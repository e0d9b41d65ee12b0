import { countedStatus } from '../mail/enhanced-status.ts';
import { Tally, type Figure } from '../sqlite/figures.ts';
import type { Trouble } from './attempt.ts';
import type { DecidedOutcome } from './decide-outcome.ts';
import type { TurnPlan } from './plan-turn.ts';

/**
 * What a turn adds to the figures of the spool. `wallNow` is in milliseconds since 1970. Pure.
 *
 * attempts             by what they came to: passed, refused (this message alone), trouble (of the endpoint), slower
 * recipients           by what was decided: sent, deferred, failed
 * deferrals, failures  recipients by status
 * delivered            recipients that were sent, by the time since the hand-over
 * endpoint_failures    posts and probes that showed the endpoint down
 */
export function turnFigures(
  { outcomes, failures }: Pick<TurnPlan, 'outcomes' | 'failures'>,
  wallNow: number,
): Figure[] {
  const tally = new Tally();
  for (const outcome of outcomes) addOutcome(tally, outcome, wallNow);
  if (failures.length > 0) tally.add('endpoint_failures', '', failures.length);
  return tally.figures;
}

function addOutcome(tally: Tally, { attempt, verdicts }: DecidedOutcome, wallNow: number): void {
  const { trouble, message } = attempt;
  const outcome = trouble === undefined ? 'passed' : ATTEMPTS[trouble.scope];
  if (outcome !== undefined) tally.add('attempts', outcome);
  for (const { state, status } of verdicts) {
    if (state === 'sent') {
      tally.add('recipients', 'sent');
      // A step of the clock must not take anything away.
      tally.addTime('delivered', Math.max(0, wallNow - message.queuedAt));
    } else {
      tally.add('recipients', state === 'failed' ? 'failed' : 'deferred');
      tally.add(state === 'failed' ? 'failures' : 'deferrals', countedStatus(status));
    }
  }
}

/** What an attempt with trouble counts as; one that ended because drain stopped does not count. */
const ATTEMPTS: Record<Trouble['scope'], string | undefined> = {
  message: 'refused',
  endpoint: 'trouble',
  pace: 'slower',
  ledger: 'trouble',
  stop: undefined,
};
