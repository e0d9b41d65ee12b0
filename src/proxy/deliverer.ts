import { createHash } from 'node:crypto';
import type { ProxyJournal } from './proxy-journal.ts';
import { aborted } from '../host/aborted.ts';
import { withinTime } from '../host/within-time.ts';
import { statusClass, statuses } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../mail/limits.ts';
import type { Verdict } from '../wire/verdicts.ts';
import {
  BackendBusyError,
  BackendUnavailableError,
  type Backend,
  type Delivery,
  type Place,
  type Result,
  type Rights,
} from './backend.ts';
import { ledgerFault } from './ledger-fault.ts';
import { DigestConflict, type Ledger } from './ledger.ts';
import { OutcomeWriter } from './outcome-writer.ts';
import { refusalsOf } from './refusals.ts';
import type { SenderPolicy } from './sender-policy.ts';

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

/** The delivery of one post, which every post of the same recipients waits for. */
interface Task {
  /** SHA-256 of the message. */
  digest: Buffer;
  /** Whether the ledger has it as begun; before that it waits for room at the backend. */
  begun: boolean;
  /** Resolves when there are verdicts; rejects when nothing was sent. */
  over: Promise<void>;
  verdicts?: Map<string, Verdict>;
  /** Whether the ledger has the verdicts. */
  written: boolean;
  /** Whether a client was told that it is in progress. */
  late: boolean;
}

/**
 * Delivers posts, each recipient once (law 6): asks the ledger, calls the backend for those that were not
 * sent, and writes down what became of them before anybody hears of it. A delivery goes on for as long as
 * the backend takes, whoever still waits for it (law 13); a repeated post waits for it, or finds its verdict.
 */
export class Deliverer {
  readonly recipientsMax: number;
  readonly softBounce: boolean;
  /** Verdicts so far. */
  readonly given = { sent: 0, deferred: 0, failed: 0 };
  readonly #ledger: Ledger;
  readonly #outcomes: OutcomeWriter;
  readonly #backend: Backend;
  readonly #policy: SenderPolicy;
  readonly #journal: ProxyJournal;
  /** By message id and recipient. */
  readonly #tasks = new Map<string, Task>();
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
  }

  /**
   * The verdicts on the recipients, in their order, after `waitMs` at most: those that are being sent then
   * are in progress. Rejects with DigestConflict, with BackendBusyError when nothing could be begun in time,
   * and with BackendUnavailableError when ledger or backend cannot work.
   */
  async send(
    id: string,
    envelope: Envelope,
    bytes: Buffer,
    rights: Rights = {},
    waitMs: number = limits.answerMs,
  ): Promise<Verdict[]> {
    const refusals = refusalsOf(envelope, this.recipientsMax);
    const recipients = envelope.recipients.filter((recipient) => !refusals.has(recipient));
    const digest = createHash('sha256').update(bytes).digest();
    return withinTime(waitMs, 'no verdict', [], async (timeUp) => {
      const tasks = this.#tasksOf(id, recipients);
      for (const task of tasks.values()) {
        if (!task.digest.equals(digest)) throw new DigestConflict(id);
      }
      const fresh = recipients.filter((recipient) => !tasks.has(recipient));
      if (fresh.length > 0) {
        const delivery = { ...rights, ...envelope, id, recipients: fresh, bytes };
        const task = this.#begin(delivery, digest, timeUp);
        for (const recipient of fresh) tasks.set(recipient, task);
      }
      const each = new Set(tasks.values());
      await overOrAborted(each, timeUp);
      if ([...each].some((task) => !task.begun && !task.verdicts)) this.#busy();

      // The verdicts of a late delivery are told when it is over.
      const toldThere = new Set(recipients.filter((recipient) => tasks.get(recipient)?.late));
      const verdicts = envelope.recipients.map(
        (each) => refusals.get(each) ?? this.#hear(id, each, tasks.get(each) ?? lost(each)),
      );
      const told = verdicts.filter(({ recipient }) => !toldThere.has(recipient));
      this.#tell(id, envelope.sender, told);
      return verdicts.map((verdict) => this.#softened(verdict));
    });
  }

  /**
   * The verdicts on recipients of an earlier post, as `send` gives them; nothing is begun. A recipient of
   * which nothing is known gets 4.4.2. Rejects with BackendUnavailableError.
   */
  async ask(
    id: string,
    recipients: readonly string[],
    waitMs: number = limits.answerMs,
  ): Promise<Verdict[]> {
    return withinTime(waitMs, 'no verdict', [], async (timeUp) => {
      const tasks = this.#tasksOf(id, recipients);
      await overOrAborted(new Set(tasks.values()), timeUp).catch(() => {}); // Nothing was sent: unknown here.
      const sent = this.#read(() => this.#ledger.sent(id, recipients));
      return recipients.map((recipient) => {
        const task = tasks.get(recipient);
        if (task?.begun) return this.#softened(this.#hear(id, recipient, task));
        return { recipient, ...(sent.get(recipient) ?? NOTHING_KNOWN) };
      });
    });
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
    await Promise.allSettled([...this.#tasks.values()].map(async ({ over }) => over));
    await this.#outcomes.flush();
  }

  #tasksOf(id: string, recipients: readonly string[]): Map<string, Task> {
    const tasks = new Map<string, Task>();
    for (const recipient of recipients) {
      const task = this.#tasks.get(key(id, recipient));
      if (task) tasks.set(recipient, task);
    }
    return tasks;
  }

  #begin(delivery: Delivery, digest: Buffer, giveUp: AbortSignal): Task {
    const { id, recipients } = delivery;
    const task: Task = { digest, begun: false, over: never, written: false, late: false };
    recipients.forEach((recipient) => this.#tasks.set(key(id, recipient), task));
    task.over = this.#run(task, delivery, giveUp);
    task.over.catch(() => {}); // Each post that waits handles it; there may be none.
    return task;
  }

  async #run(task: Task, delivery: Delivery, giveUp: AbortSignal): Promise<void> {
    const { id, sender, recipients } = delivery;
    const release = delivery.hold?.();
    try {
      const verdicts = await this.#deliver(task, delivery, giveUp);
      task.verdicts = new Map(verdicts.map((verdict) => [verdict.recipient, verdict]));
      this.#release(id, task);
      if (task.late) this.#tell(id, sender, verdicts);
    } catch (error) {
      task.begun = false;
      for (const recipient of recipients) this.#forget(id, recipient, task);
      throw error;
    } finally {
      release?.();
    }
  }

  async #deliver(task: Task, delivery: Delivery, giveUp: AbortSignal): Promise<Verdict[]> {
    const { id, recipients } = delivery;
    const known = this.#read(() => this.#ledger.sent(id, recipients, task.digest));
    const repeats = [...known].map(([recipient, kept]) => ({ recipient, ...kept }));
    const fresh = { ...delivery, recipients: recipients.filter((each) => !known.has(each)) };
    const admitted = fresh.recipients.length > 0 ? this.#policy(fresh) : [];
    if (Array.isArray(admitted)) {
      task.written = true;
      return [...repeats, ...admitted];
    }
    const place = await this.#reserve(giveUp);
    try {
      await this.#ledger.begin(id, task.digest, admitted.recipients, Date.now());
    } catch (error) {
      place.release();
      return this.#ledgerFailed(error as Error);
    }
    task.begun = true;
    const results = await this.#callBackend(place, admitted);
    await this.#outcomes.write(id, results, () => {
      task.written = true;
      this.#release(id, task);
    });
    return [...repeats, ...results.map(verdictOf)];
  }

  async #reserve(giveUp: AbortSignal): Promise<Place> {
    try {
      return await this.#backend.reserve(giveUp);
    } catch (error) {
      if (error instanceof BackendUnavailableError) return this.#unavailable(error);
      if (error instanceof BackendBusyError) return this.#busy();
      throw error;
    }
  }

  /** Calls the backend; what it does not answer for is unknown. */
  async #callBackend(place: Place, delivery: Delivery): Promise<Result[]> {
    const { id, recipients } = delivery;
    const unknown = (reason: string) =>
      recipients.map((recipient) => ({ recipient, unknown: reason }));
    try {
      const results = await withinTime(limits.deliveryMs, 'no end', [], async (timeUp) =>
        Promise.race([place.deliver(delivery), aborted(timeUp)]),
      );
      if (!results) return unknown('the backend took too long');
      const answered = new Map(results.map((result) => [result.recipient, result]));
      return unknown('the backend said nothing of it').map(
        (missing) => answered.get(missing.recipient) ?? missing,
      );
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) return unknown((error as Error).message);
      const nothingSent = recipients.map((address) => ({ address, kind: 'refused' as const }));
      await this.#ledger
        .settle(id, nothingSent, Date.now())
        .catch((fault: Error) => this.#ledgerFailed(fault));
      return this.#unavailable(error);
    }
  }

  /**
   * Leaves a task that is over to the ledger, which knows what was sent. After a late one the other verdicts
   * are kept for a while: the client may be about to ask for them.
   */
  #release(id: string, task: Task): void {
    if (!task.written || !task.verdicts) return;
    for (const { recipient, status } of task.verdicts.values()) {
      const forget = () => this.#forget(id, recipient, task);
      if (statusClass(status) === 'sent' || !task.late) forget();
      else setTimeout(forget, limits.unheardMs).unref();
    }
  }

  /** A later post of the recipient may have begun another task. */
  #forget(id: string, recipient: string, task: Task): void {
    if (this.#tasks.get(key(id, recipient)) === task) this.#tasks.delete(key(id, recipient));
  }

  /** The verdict for a client; a recipient whose task is not over is in progress. */
  #hear(id: string, recipient: string, task: Task): Verdict {
    if (!task.verdicts) {
      task.late = true;
      return { recipient, status: statuses.inProgress, reason: IN_PROGRESS, inProgress: true };
    }
    if (task.written) this.#forget(id, recipient, task);
    return task.verdicts.get(recipient) ?? lost(recipient);
  }

  /** Counts verdicts and writes them into the journal, each once. */
  #tell(id: string, sender: string, verdicts: readonly Verdict[]): void {
    if (verdicts.length === 0) return;
    const softened = verdicts.map((verdict) => this.#softened(verdict));
    for (const { status, inProgress } of softened) {
      if (!inProgress) this.given[statusClass(status) ?? 'deferred'] += 1;
    }
    this.#journal.verdicts(id, sender, softened);
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
    if (error instanceof DigestConflict) throw error;
    const text = `the ledger cannot be written: ${ledgerFault(this.#ledger.file, error)}`;
    return this.#unavailable(new BackendUnavailableError(text));
  }

  #busy(): never {
    const now = performance.now();
    if (now >= this.#busyTellAt) {
      this.#busyTellAt = now + limits.slowerRepeatMs;
      this.#journal.backendBusy(BUSY);
    }
    throw new BackendBusyError(BUSY);
  }

  #unavailable(error: BackendUnavailableError): never {
    this.#journal.proxyTrouble(error.message);
    throw error;
  }
}

function verdictOf(result: Result): Verdict {
  if (!('unknown' in result)) return result;
  return { recipient: result.recipient, status: statuses.unknown, reason: result.unknown };
}

/** Resolves when all tasks are over, or the time is up. Rejects as the first that rejects. */
async function overOrAborted(tasks: Iterable<Task>, timeUp: AbortSignal): Promise<void> {
  await Promise.race([Promise.all(Array.from(tasks, async ({ over }) => over)), aborted(timeUp)]);
}

function lost(recipient: string): never {
  throw new Error(`no verdict on ${recipient}: a defect of the proxy`);
}

function key(id: string, recipient: string): string {
  return `${id} ${recipient}`;
}

const never = new Promise<void>(() => {});
const BUSY = 'no connection to the relay was free in time';
const IN_PROGRESS = 'it is still being sent';
const NOTHING_KNOWN = {
  status: statuses.unknown,
  reason: 'the proxy does not know whether it was sent',
};
