import type { DrainJournal } from './drain-journal.ts';
import type { Claimed } from '../spool/claim.ts';
import type { Delivery } from './courier.ts';
import type { ToldOutcome } from './outcome.ts';

/** Tells the journal what came of a message. `downUntil`: when the endpoint is asked again; monotonic. */
export function announce(
  journal: DrainJournal,
  message: Claimed,
  { trouble }: Delivery,
  outcome: ToldOutcome,
  now: number,
  downUntil: number | undefined,
): void {
  const { verdicts, undecided, dueAt, lastStatus } = outcome;
  const attempt = message.attempts + 1;
  if (verdicts.length > 0) journal.attempted(message, attempt, verdicts, dueAt, now);
  const failed = verdicts.filter(({ state }) => state === 'failed');
  if (failed.length > 0 && message.sender === '') {
    journal.nobodyTold(
      message,
      failed.map(({ address }) => address),
    );
  }
  if (trouble?.meaning.maybeSent) {
    journal.maybeSent(message, attempt, undecided, trouble.meaning);
  } else if (trouble && undecided.length > 0) {
    const waitMs = downUntil === undefined ? undefined : downUntil - performance.now();
    journal.postponed(message, attempt, undecided, lastStatus, trouble.meaning.text, waitMs);
  }
}
