import { statusClass } from '../mail/enhanced-status.ts';
import { isSurplus, type Verdict } from '../wire/verdicts.ts';
import type { PostedMessage } from './ledger/message-name.ts';
import type { ProxyFigures } from './proxy-figures.ts';
import type { ProxyJournal } from './proxy-journal.ts';

/** Counts verdicts and writes them into the journal; its caller makes sure that each is told once. */
export class VerdictTeller {
  /** How many recipients got which kind of verdict so far. */
  readonly given = { sent: 0, deferred: 0, failed: 0 };
  /** How many recipients were posted again after they had been sent. */
  repeated = 0;
  readonly #journal: ProxyJournal;
  readonly #figures: ProxyFigures;

  constructor(journal: ProxyJournal, figures: ProxyFigures) {
    this.#journal = journal;
    this.#figures = figures;
  }

  /**
   * Tells verdicts that were given together with `all`. Recipients that were too many for one post are left out, since they
   * are posted again at once and get their verdicts then.
   */
  tell(
    message: PostedMessage,
    sender: string,
    verdicts: readonly Verdict[],
    all: readonly Verdict[] = verdicts,
  ): void {
    const isPaging = all.some((verdict) => !isSurplus(verdict));
    const told = isPaging ? verdicts.filter((verdict) => !isSurplus(verdict)) : verdicts;
    if (told.length === 0) return;
    for (const { status, inProgress, sentBefore } of told) {
      if (inProgress) continue;
      const verdict = statusClass(status) ?? 'deferred';
      if (sentBefore) this.repeated += 1;
      else this.given[verdict] += 1;
      if (sentBefore) this.#figures.count('repeats', message.key);
      else this.#figures.count('verdicts', `${verdict} ${message.key}`);
    }
    this.#journal.verdicts(message, sender, told);
  }
}
