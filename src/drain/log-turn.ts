import type { DecidedOutcome } from './decide-outcome.ts';
import { attemptEvent, type DrainJournal } from './drain-journal.ts';
import type { TurnPlan } from './plan-turn.ts';

/**
 * Tells the journal what a committed turn came to; `queued` messages wait for the proxies of `urls`; `wallNow` is the wall
 * clock's time, `folder` that of the spool.
 */
export function logTurn(
  journal: DrainJournal,
  plan: TurnPlan,
  {
    wallNow,
    folder,
    ...proxies
  }: { wallNow: number; folder: string; urls: readonly string[]; queued: number },
): void {
  for (const outcome of plan.outcomes) logOutcome(journal, outcome, { ...plan, wallNow, folder });
  for (const failure of plan.failures) logFailure(journal, failure, plan, proxies);
  const { endpoint } = plan;
  if (endpoint.to !== 'up') return;
  if (endpoint.downMs !== undefined) {
    journal.endpointUp(plan.postTo?.url ?? proxies.urls.join(), endpoint.downMs, proxies.queued);
  }
  const { uses } = endpoint;
  if (uses?.fallback) journal.fallback(uses.fallback);
  else if (uses) journal.fallbackOver(uses.url);
}

function logOutcome(
  journal: DrainJournal,
  { attempt: { message, trouble, damage }, verdicts, undecided, dueAt, lastStatus }: DecidedOutcome,
  { now, askedInMs, wallNow, folder }: TurnPlan & { wallNow: number; folder: string },
): void {
  const attempt = message.attempts + 1;
  if (verdicts.length > 0) {
    const due = { dueAt: wallNow + dueAt - now, now: wallNow };
    journal[attemptEvent(verdicts)](message, { attempt, recipients: verdicts, ...due });
  }
  const failed = verdicts.filter(({ state }) => state === 'failed');
  if (failed.length > 0 && message.sender === '') {
    journal.nobodyTold(
      message,
      failed.map(({ address }) => address),
    );
  }
  // That the proxy asks for fewer posts is told once, and not for every message.
  if (trouble?.diagnosis.maybeSent) {
    journal.maybeSent(message, attempt, undecided, trouble.diagnosis);
  } else if (trouble && trouble.scope !== 'pace' && undecided.length > 0) {
    const { text } = trouble.diagnosis;
    journal.postponed(message, undecided, { attempt, status: lastStatus, text, waitMs: askedInMs });
  }
  if (damage !== undefined) journal.messageDamaged(message, damage, folder);
}

function logFailure(
  journal: DrainJournal,
  failure: TurnPlan['failures'][number],
  { neverPassed }: TurnPlan,
  { urls, queued }: { urls: readonly string[]; queued: number },
): void {
  const { diagnosis, isReported } = failure;
  const { text, remedy, unanswered } = diagnosis;
  const isDown = failure.kind === 'failed';
  if (isDown) {
    const { failures, waitMs } = failure;
    const hint = unanswered && neverPassed ? NEVER_PASSED : '';
    journal.endpointDown(urls, { text: text + hint, failures, waitMs, queued });
  }
  if (remedy === undefined || !isReported) return;
  journal.operatorFault(isDown ? text : `${failure.url}: ${text}`, remedy, isDown);
}

const NEVER_PASSED =
  ' (no post has ever passed: is GMAIL_PROXY_URL right, and does the proxy run?)';
