import { sleep, type Clock } from '../../host/clock.ts';
import { showDuration } from '../../host/duration.ts';
import { limits } from '../../limits.ts';
import { BackendBusyError, type BackendThrottledError } from '../backends/backend.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { ProxyJournal } from '../proxy-journal.ts';
import { quotaText, type Quota } from './quota.ts';
import { Spending } from './spending.ts';
import { Throttle } from './throttle.ts';

/** Leave to give the message to so many recipients. */
export interface Grant {
  recipients: number;
  /** Takes back what was not used: so many recipients. */
  giveBack(recipients: number): Promise<void>;
}

/** A delivery that waits for its turn. */
interface Waiting {
  wanted: number;
  /** Monotonic: then its client has to hear that it is to post again. */
  until: number;
  grant: (given: Grant) => void;
  refuse: (error: unknown) => void;
}

/** What is decided about the deliveries that wait, in their order: grants, and refusals by how long to wait. */
interface Decided {
  /** The time of the ledger. */
  at: number;
  answers: ({ granted: number } | { refusedMs: number; quota: Quota | undefined })[];
  /** The next one fits after so many milliseconds, within its patience. */
  waitMs: number;
}

/**
 * Keeps deliveries within what the provider takes: the quotas of --pace and --pace-day, which the ledger remembers for all
 * its proxies, and what the provider itself says by its refusals. Recipients are counted, as providers do. Deliveries have
 * their turns in the order in which they came: one that does not fit waits for some seconds, and those behind it too, so
 * that neither small nor large ones wait for ever. What takes longer is refused, and its client posts it again. Where a
 * quota is nearly used up, a message goes to as many of its recipients as are left.
 */
export class Pacer {
  readonly #quotas: readonly Quota[];
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #journal: ProxyJournal;
  readonly #throttle: Throttle;
  #waiting: Waiting[] = [];
  #isDeciding = false;
  /** Until when nothing fits, as far as is known, and until when it is not asked again: monotonic. */
  #closed = { until: -Infinity, askAt: -Infinity, text: '' };
  /** When the journal may be told again that a quota is used up: monotonic. */
  #tellAt = -Infinity;

  constructor(quotas: readonly Quota[], ledger: Ledger, journal: ProxyJournal) {
    this.#quotas = quotas;
    this.#ledger = ledger;
    this.#clock = ledger.clock;
    this.#journal = journal;
    this.#throttle = new Throttle(ledger.clock, journal);
  }

  /** Throws BackendBusyError where it is known that nothing can be sent now. */
  requireOpen(): void {
    this.#throttle.requireOpen();
    const now = this.#clock.now();
    const { until, askAt, text } = this.#closed;
    if (now < askAt) throw new BackendBusyError(text, until - now);
  }

  /**
   * Leave for so many recipients, or for fewer where no more are left; `patienceMs` is how long it may take. Rejects with
   * BackendBusyError when none are left, and as Ledger.changePace does.
   */
  async take(wanted: number, patienceMs: number): Promise<Grant> {
    if (this.#quotas.length === 0) return { recipients: wanted, giveBack: async () => {} };
    const until = this.#clock.now() + Math.min(patienceMs, limits.paceWaitMs);
    return new Promise((grant, refuse) => {
      this.#waiting.push({ wanted, until, grant, refuse });
      if (!this.#isDeciding) void this.#decide();
    });
  }

  /** The provider takes less than it was given. The client is to post again when this says. */
  throttled(error: BackendThrottledError): BackendBusyError {
    return this.#throttle.throttled(error);
  }

  /** The provider has taken or refused a message as such. */
  passed(): void {
    this.#throttle.passed();
  }

  async #decide(): Promise<void> {
    this.#isDeciding = true;
    while (this.#waiting.length > 0) {
      const asked = this.#waiting;
      try {
        const { at, answers, waitMs } = await this.#ledger.changePace((text, now) =>
          this.#decided(asked, text, now),
        );
        const decided = this.#waiting.splice(0, answers.length);
        for (const [place, each] of decided.entries()) this.#answer(each, answers[place], at);
        if (waitMs > 0) await sleep(this.#clock, waitMs);
      } catch (error) {
        for (const { refuse } of this.#waiting.splice(0)) refuse(error);
      }
    }
    this.#isDeciding = false;
  }

  #decided(asked: readonly Waiting[], text: string, at: number): { text: string; result: Decided } {
    const share = this.#throttle.share();
    const quotas = this.#quotas.map((quota) => ({
      ...quota,
      recipients: Math.max(1, Math.floor(quota.recipients * share)),
    }));
    const spending = new Spending(text, quotas, at);
    const result: Decided = { at, answers: [], waitMs: 0 };
    const now = this.#clock.now();
    for (const { wanted, until } of asked) {
      const whole = Math.min(wanted, spending.most);
      const waitMs = spending.inMs(whole);
      const isInTime = now <= until;
      if (isInTime && waitMs > 0 && now + waitMs <= until) {
        result.waitMs = waitMs;
        break;
      }
      const granted = isInTime ? Math.min(whole, spending.left) : 0;
      spending.spend(granted);
      const refusedMs = Math.max(1, spending.inMs(1));
      result.answers.push(granted > 0 ? { granted } : { refusedMs, quota: spending.tightest });
    }
    return { text: spending.toString(), result };
  }

  #answer(
    { grant, refuse }: Waiting,
    answer: Decided['answers'][number] | undefined,
    at: number,
  ): void {
    if (!answer) return;
    if ('refusedMs' in answer) {
      refuse(this.#refusal(answer.refusedMs, answer.quota));
      return;
    }
    const giveBack = async (recipients: number) => this.#giveBack(recipients, at);
    grant({ recipients: answer.granted, giveBack });
  }

  #refusal(waitMs: number, quota: Quota | undefined): BackendBusyError {
    const now = this.#clock.now();
    const used = quota ? quotaText(quota) : 'the quota';
    const text = `${used} is used up: it goes on in ${showDuration(waitMs)}`;
    if (waitMs > limits.paceWaitMs) {
      const askAt = now + Math.min(waitMs, limits.paceAskMs);
      this.#closed = { until: now + waitMs, askAt, text };
    }
    if (now >= this.#tellAt) {
      this.#tellAt = now + Math.max(waitMs, limits.slowerRepeatMs);
      this.#journal.paced(text);
    }
    return new BackendBusyError(text, waitMs);
  }

  async #giveBack(recipients: number, at: number): Promise<void> {
    if (recipients === 0) return;
    await this.#ledger.changePace((text, now) => {
      const spending = new Spending(text, this.#quotas, now);
      spending.giveBack(recipients, at);
      return { text: spending.toString(), result: undefined };
    });
    this.#closed.askAt = -Infinity;
  }
}
