import { createHash } from 'node:crypto';
import type { ProxyJournal } from './proxy-journal.ts';
import { untilAborted } from '../host/until-aborted.ts';
import { withinTime } from '../host/within-time.ts';
import { statusClass, statuses } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import type { Verdict } from '../wire/verdicts.ts';
import {
  BackendBusyError,
  BackendUnavailableError,
  type Backend,
  type Delivery,
  type Place,
  type Result,
  type SendOptions,
} from './backends/backend.ts';
import { callBackend } from './call-backend.ts';
import { DeliveryTasks, type Task } from './delivery-tasks.ts';
import { earlyTimer } from './http/early-timer.ts';
import { ledgerFault } from './ledger/ledger-fault.ts';
import { DigestConflictError, type Kept, type Ledger } from './ledger/ledger.ts';
import type { MessageName, PostedMessage } from './ledger/message-name.ts';
import { OutcomeWriter } from './ledger/outcome-writer.ts';
import { refusalsOf } from './http/refusals.ts';
import type { SenderPolicy } from './policy/sender-policy.ts';
import { VerdictTeller } from './verdict-teller.ts';
import { sentBeforeName } from './ledger/sent-before-name.ts';

export interface DelivererOptions {
  ledger: Ledger;
  backend: Backend;
  policy: SenderPolicy;
  journal: ProxyJournal;
  /** Recipients that are taken in one post. */
  recipientsMax: number;
  /** Nothing is refused for good: every 5.x.x is given as a 4.x.x. */
  softBounce?: boolean;
}

/**
 * Delivers posts, each recipient once (law 6): asks the ledger, calls the backend for those that were not
 * sent, and writes down what became of them before anybody hears of it. A delivery goes on for as long as
 * the backend takes, whoever still waits for it (law 13); a repeated post waits for it, or finds its verdict.
 */
export class Deliverer {
  readonly recipientsMax: number;
  readonly softBounce: boolean;
  /** What was told so far. */
  readonly teller: VerdictTeller;
  /** What kept the last delivery from being made, and since when (monotonic); undefined when one has passed after it. */
  trouble: { text: string; since: number } | undefined;
  readonly #ledger: Ledger;
  readonly #outcomes: OutcomeWriter;
  readonly #backend: Backend;
  readonly #policy: SenderPolicy;
  readonly #journal: ProxyJournal;
  readonly #tasks = new DeliveryTasks();
  readonly #stopping = new AbortController();
  /** When it may be told again that the backend is busy: monotonic. */
  #busyTellAt = -Infinity;

  constructor(options: DelivererOptions) {
    this.recipientsMax = options.recipientsMax;
    this.softBounce = options.softBounce ?? false;
    this.#ledger = options.ledger;
    this.#outcomes = new OutcomeWriter(options.ledger, options.journal);
    this.#backend = options.backend;
    this.#policy = options.policy;
    this.#journal = options.journal;
    this.teller = new VerdictTeller(options.journal);
  }

  /**
   * The verdicts on the recipients, in their order, after `waitMs` at most: those that are being sent then
   * are in progress. Rejects with DigestConflict, with BackendBusyError when nothing could be begun in time,
   * and with BackendUnavailableError when ledger or backend cannot work.
   */
  async send(
    message: PostedMessage,
    envelope: Envelope,
    bytes: Buffer,
    rights: SendOptions = {},
    waitMs: number = limits.answerMs,
  ): Promise<Verdict[]> {
    const refusals = refusalsOf(envelope, this.recipientsMax);
    const recipients = envelope.recipients.filter((recipient) => !refusals.has(recipient));
    const digest = createHash('sha256').update(bytes).digest();
    const work = async (timeUp: AbortSignal) => {
      const tasks = this.#tasks.of(message, recipients);
      for (const task of tasks.values()) {
        if (!task.digest.equals(digest)) throw new DigestConflictError(message.id);
      }
      const fresh = recipients.filter((recipient) => !tasks.has(recipient));
      if (fresh.length > 0) {
        const delivery = { ...rights, ...envelope, ...message, recipients: fresh, bytes };
        const task = this.#begin(delivery, digest, waitMs);
        for (const recipient of fresh) tasks.set(recipient, task);
      }
      await this.#wait(message, tasks, timeUp);
      const each = [...tasks.values()];
      if (each.length > 0 && each.every((task) => !task.begun && !task.verdicts)) this.#busy();

      const untold = new Set(recipients.filter((recipient) => isUntold(tasks.get(recipient))));
      const verdicts = envelope.recipients
        .map((to) => refusals.get(to) ?? this.#hear(message, to, tasks.get(to) ?? lost(to)))
        .map((verdict) => this.#softened(verdict));
      const told = verdicts.filter(
        ({ recipient }) => refusals.has(recipient) || untold.has(recipient),
      );
      this.teller.tell(message, envelope.sender, told, verdicts);
      return verdicts;
    };
    return withinTime(waitMs, 'no verdict', [], work, earlyTimer);
  }

  /**
   * The verdicts on recipients of an earlier post, as `send` gives them; nothing is begun. A recipient of
   * which nothing is known gets 4.4.2. Rejects with BackendUnavailableError.
   */
  async ask(
    message: MessageName,
    recipients: readonly string[],
    waitMs: number = limits.answerMs,
  ): Promise<Verdict[]> {
    const work = async (timeUp: AbortSignal) => {
      const tasks = this.#tasks.of(message, recipients);
      await this.#wait(message, tasks, timeUp);
      const sent = this.#read(() => this.#ledger.sent(message, recipients));
      return recipients.map((recipient) => {
        const task = tasks.get(recipient);
        if (task) return this.#softened(this.#hear(message, recipient, task));
        return { recipient, ...(sent.get(recipient) ?? NOTHING_KNOWN) };
      });
    };
    return withinTime(waitMs, 'no verdict', [this.#stopping.signal], work, earlyTimer);
  }

  /** Answers those that ask, since this program stops. */
  stop(): void {
    this.#stopping.abort();
  }

  /** A last try to write down what could not be written; in vain, the next start lists it as unknown. */
  async flush(): Promise<void> {
    await this.#outcomes.flush();
  }

  /** Resolves when a post could be taken, as far as the ledger is concerned. */
  async check(): Promise<void> {
    await this.#ledger.check().catch((error: Error) => this.#ledgerFailed(error));
  }

  /**
   * Resolves when nothing is being sent any more. A client that went away has left its message with the
   * backend: the proxy must not end before it has written down what became of it.
   */
  async settled(): Promise<void> {
    await Promise.allSettled(Array.from(this.#tasks.all, async ({ over }) => over));
  }

  /** Waits until all tasks are over, or the time is up. Rejects as the first that rejects, which is heard then. */
  async #wait(message: MessageName, tasks: Map<string, Task>, timeUp: AbortSignal): Promise<void> {
    const over = Array.from(new Set(tasks.values()), async (task) => task.over);
    try {
      await Promise.race([Promise.all(over), untilAborted(timeUp)]);
    } catch (error) {
      for (const [recipient, task] of tasks) {
        if (task.failed) this.#tasks.forget(message, recipient, task);
      }
      throw error;
    }
  }

  #begin(delivery: Delivery, digest: Buffer, waitMs: number): Task {
    const state = { begun: false, failed: false, written: false, late: false, told: false };
    const task: Task = { digest, over: never, ...state };
    this.#tasks.add(delivery, delivery.recipients, task);
    task.over = this.#run(task, delivery, waitMs);
    task.over.catch(() => {}); // Each post that waits handles it; there may be none.
    return task;
  }

  async #run(task: Task, delivery: Delivery, waitMs: number): Promise<void> {
    const { sender, recipients } = delivery;
    const release = delivery.hold?.();
    try {
      const verdicts = await this.#deliver(task, delivery, waitMs);
      task.verdicts = new Map(verdicts.map((verdict) => [verdict.recipient, verdict]));
      this.#release(delivery, task);
      const told = verdicts.map((verdict) => this.#softened(verdict));
      if (task.late) this.teller.tell(delivery, sender, told);
    } catch (error) {
      task.failed = true;
      for (const recipient of recipients) this.#tasks.forgetUnlessLate(delivery, recipient, task);
      throw error;
    } finally {
      release?.();
    }
  }

  async #deliver(task: Task, delivery: Delivery, waitMs: number): Promise<Verdict[]> {
    const { recipients } = delivery;
    const known = new Map<string, Kept>([
      ...(await sentBeforeName(this.#tasks, delivery, task.digest, roomMs(waitMs))),
      ...this.#read(() => this.#ledger.sent(delivery, recipients, task.digest)),
    ]);
    const repeats = [...known].map(([recipient, kept]): Verdict => {
      return { recipient, ...kept, sentBefore: true };
    });
    const fresh = { ...delivery, recipients: recipients.filter((each) => !known.has(each)) };
    const admitted = fresh.recipients.length > 0 ? this.#policy(fresh) : [];
    if (Array.isArray(admitted)) {
      task.written = true;
      return [...repeats, ...admitted];
    }
    const place = await this.#reserve(waitMs);
    task.begun = true;
    try {
      await this.#ledger.begin(delivery, task.digest, admitted.recipients, Date.now());
    } catch (error) {
      place.release();
      return this.#ledgerFailed(error as Error);
    }
    const results = await this.#callBackend(place, admitted);
    await this.#outcomes.write(delivery, results, () => {
      task.written = true;
      this.#release(delivery, task);
    });
    return [...repeats, ...results.map(verdictOf)];
  }

  /** Ends before the post is answered, so that nothing is begun after a 429. */
  async #reserve(waitMs: number): Promise<Place> {
    const work = async (giveUp: AbortSignal) => this.#backend.reserve(giveUp);
    try {
      return await withinTime(roomMs(waitMs), 'no room', [], work, earlyTimer);
    } catch (error) {
      if (error instanceof BackendUnavailableError) return this.#unavailable(error);
      if (error instanceof BackendBusyError) return this.#busy();
      throw error;
    }
  }

  /** What the backend says, or that nothing was sent, which the ledger then knows. */
  async #callBackend(place: Place, delivery: Delivery): Promise<Result[]> {
    try {
      const results = await callBackend(place, delivery);
      if (results.some((result) => !('unknown' in result))) this.trouble = undefined;
      return results;
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) throw error;
      const { recipients } = delivery;
      const nothingSent = recipients.map((address) => ({ address, kind: 'refused' as const }));
      await this.#ledger
        .settle(delivery, nothingSent, Date.now())
        .catch((fault: Error) => this.#ledgerFailed(fault));
      return this.#unavailable(error);
    }
  }

  /** Leaves a task that is over to the ledger, which knows what was sent. */
  #release(message: MessageName, task: Task): void {
    if (!task.written || !task.verdicts) return;
    for (const { recipient, status } of task.verdicts.values()) {
      if (statusClass(status) === 'sent') this.#tasks.forget(message, recipient, task);
      else this.#tasks.forgetUnlessLate(message, recipient, task);
    }
  }

  /** The verdict for a client. A delivery that goes on is in progress; one that waits for room is to be posted again. */
  #hear(message: MessageName, recipient: string, task: Task): Verdict {
    if (task.verdicts) {
      task.told = true;
      if (task.written) this.#tasks.forget(message, recipient, task);
      return task.verdicts.get(recipient) ?? lost(recipient);
    }
    if (!task.begun) return { recipient, status: statuses.surplus, reason: BUSY };
    task.late = true;
    return { recipient, status: statuses.inProgress, reason: IN_PROGRESS, inProgress: true };
  }

  /** For a backend that is being set up: the ledger forgets both kinds, so nothing else differs. */
  #softened(verdict: Verdict): Verdict {
    const { status, reason } = verdict;
    if (!this.softBounce || statusClass(status) !== 'failed') return verdict;
    const softened = `soft bounce of ${status}: ${reason}`;
    return { ...verdict, status: `4${status.slice(1)}`, reason: softened };
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      return this.#ledgerFailed(error as Error);
    }
  }

  #ledgerFailed(error: Error): never {
    if (error instanceof DigestConflictError) throw error;
    const text = `the ledger cannot be written: ${ledgerFault(this.#ledger.file, error)}`;
    return this.#unavailable(new BackendUnavailableError(text));
  }

  #busy(): never {
    const now = performance.now();
    if (now >= this.#busyTellAt) {
      this.#busyTellAt = now + limits.slowerRepeatMs;
      this.#journal.busy(BUSY);
    }
    throw new BackendBusyError(BUSY);
  }

  #unavailable(error: BackendUnavailableError): never {
    this.trouble = { text: error.message, since: this.trouble?.since ?? performance.now() };
    this.#journal.trouble(error.message);
    throw error;
  }
}

/** How long a delivery may wait for what it needs before it begins. */
function roomMs(waitMs: number): number {
  return Math.max(0, waitMs - limits.roomMarginMs);
}

function verdictOf(result: Result): Verdict {
  if (!('unknown' in result)) return result;
  return { recipient: result.recipient, status: statuses.unknown, reason: result.unknown };
}

/** The verdicts of a late task are told when it is over, those of others by the first that hears them. */
function isUntold(task: Task | undefined): boolean {
  return task !== undefined && !task.late && !task.told;
}

function lost(recipient: string): never {
  throw new Error(`no verdict on ${recipient}: a defect of the proxy`);
}

const never = new Promise<void>(() => {});
const BUSY = 'no connection to the relay was free in time';
const IN_PROGRESS = 'it is still being sent';
const NOTHING_KNOWN = {
  status: statuses.unknown,
  reason: 'the proxy does not know whether it was sent',
};
