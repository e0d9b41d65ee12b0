import { attemptEvent, type DrainJournal } from './drain-journal.ts';
import type { Claimed } from '../spool/claim.ts';
import type { Delivery } from './courier.ts';
import type { ToldOutcome } from './outcome.ts';

/**
 * Tells the journal what came of a message. `now` is observed time; `downUntil` is when the endpoint is asked again, by
 * the monotonic clock.
 */
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
  const wallNow = Date.now();
  const wallDueAt = wallNow + dueAt - now;
  if (verdicts.length > 0) {
    const recipients = verdicts;
    journal[attemptEvent(verdicts)](message, {
      attempt,
      recipients,
      dueAt: wallDueAt,
      now: wallNow,
    });
  }
  const failed = verdicts.filter(({ state }) => state === 'failed');
  if (failed.length > 0 && message.sender === '') {
    journal.nobodyTold(
      message,
      failed.map(({ address }) => address),
    );
  }
  // That the proxy asks for fewer posts is told of all messages together.
  if (trouble?.meaning.maybeSent) {
    journal.maybeSent(message, attempt, undecided, trouble.meaning);
  } else if (trouble && trouble.of !== 'pace' && undecided.length > 0) {
    const waitMs = downUntil === undefined ? undefined : downUntil - performance.now();
    const { text } = trouble.meaning;
    journal.postponed(message, undecided, { attempt, status: lastStatus, text, waitMs });
  }
}
