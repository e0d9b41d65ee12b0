import { createHash } from 'node:crypto';
import type { ProxyJournal } from './proxy-journal.ts';
import type { Clock } from '../host/clock.ts';
import { withinTime, type TimeLimit } from '../host/within-time.ts';
import { asDeferred, statusClass, statuses } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import { isSurplus, type Verdict } from '../wire/verdicts.ts';
import {
  BackendBusyError,
  BackendThrottledError,
  BackendUnavailableError,
  type Backend,
  type Delivery,
  type Place,
  type Result,
  type SendOptions,
} from './backends/backend.ts';
import { callBackend } from './call-backend.ts';
import { DeliveryTasks, type DeliveryTask } from './delivery-tasks.ts';
import { DigestConflictError, type Known, type Ledger, type SentRecord } from './ledger/ledger.ts';
import type { MessageName, PostedMessage } from './ledger/message-name.ts';
import { OutcomeWriter } from './ledger/outcome-writer.ts';
import type { Grant } from './pace/pacer.ts';
import { Pacer } from './pace/pacer.ts';
import type { Quota } from './pace/quota.ts';
import type { SenderPolicy } from './policy/sender-policy.ts';
import { ProxyFigures } from './proxy-figures.ts';
import { refusedRecipients } from './refused-recipients.ts';
import { VerdictTeller } from './verdict-teller.ts';

export interface DelivererOptions {
  ledger: Ledger;
  /** Whose figures it keeps, where several proxies share the ledger (Ledger.figures). */
  proxy?: string;
  backend: Backend;
  policy: SenderPolicy;
  journal: ProxyJournal;
  /** Quotas of recipients towards the provider; none by default. */
  quotas?: readonly Quota[];
  /** Recipients that are taken in one post. */
  recipientsMax: number;
  /** Nothing is refused for good: every 5.x.x becomes a 4.x.x. */
  softBounce?: boolean;
}

/** A message to be sent, and what its post and the client's key say of it. */
export interface MessageToSend extends PostedMessage, SendOptions {
  envelope: Envelope;
  bytes: Buffer;
}

/**
 * Delivers posts, each recipient once (law 6): asks the ledger, calls the backend for those that were not sent, and
 * records what became of them before it answers. A delivery goes on for as long as the backend takes, even if nobody
 * waits for it any more (law 13); a repeated post waits for it, or finds its verdict.
 */
export class Deliverer {
  readonly clock: Clock;
  readonly recipientsMax: number;
  readonly softBounce: boolean;
  /** Counts the verdicts that were given. */
  readonly teller: VerdictTeller;
  readonly figures: ProxyFigures;
  /** Why the last delivery failed, and since when deliveries fail (monotonic); undefined when one has passed since. */
  trouble: { text: string; since: number } | undefined;
  readonly #ledger: Ledger;
  readonly #writer: OutcomeWriter;
  readonly #backend: Backend;
  readonly #policy: SenderPolicy;
  readonly #pacer: Pacer;
  readonly #journal: ProxyJournal;
  readonly #tasks: DeliveryTasks;
  readonly #stopping = new AbortController();
  /** When the journal may be told again that the backend is busy: monotonic. */
  #busyTellAt = -Infinity;

  constructor(options: DelivererOptions) {
    this.clock = options.ledger.clock;
    this.#tasks = new DeliveryTasks(this.clock);
    this.recipientsMax = options.recipientsMax;
    this.softBounce = options.softBounce ?? false;
    this.#ledger = options.ledger;
    this.#writer = new OutcomeWriter(options.ledger, options.journal);
    this.#backend = options.backend;
    this.#policy = options.policy;
    this.#journal = options.journal;
    this.#pacer = new Pacer(options.quotas ?? [], options.ledger, options.journal);
    this.figures = new ProxyFigures(this.clock, options.ledger.figures(options.proxy ?? ''));
    this.teller = new VerdictTeller(options.journal, this.figures);
  }

  /**
   * The verdicts on the recipients, in their order, after `waitMs` at most: those that are being sent then
   * are in progress. Rejects with DigestConflictError, with BackendBusyError when nothing could be begun in time,
   * and with BackendUnavailableError when ledger or backend cannot work.
   */
  async send(message: MessageToSend, waitMs: number = limits.answerMs): Promise<Verdict[]> {
    const { envelope } = message;
    const refused = refusedRecipients(envelope.recipients, this.recipientsMax);
    const recipients = envelope.recipients.filter((recipient) => !refused.has(recipient));
    const work = async (limit: TimeLimit) => {
      const tasks = this.#tasksFor(message, recipients, waitMs);
      await this.#wait(message, tasks, limit);
      const each = [...tasks.values()];
      if (each.length > 0 && each.every((task) => !task.begun && !task.verdicts)) this.#busy();

      const unlogged = recipients.filter((recipient) => isUnlogged(tasks.get(recipient)));
      const logged = new Set([...refused.keys(), ...unlogged]);
      const elsewhere = recipients.filter((to) => tasks.get(to)?.elsewhere.has(to));
      const digest = each[0]?.digest;
      const others = await this.#outcomes(
        { ...message, digest },
        elsewhere,
        POST_AGAIN,
        limit,
      ).catch((error: Error) => {
        // Some of the post may be sent here, so that it must not be answered as one of which nothing was.
        const isMixed = elsewhere.length < recipients.length;
        if (!isMixed || !(error instanceof BackendUnavailableError)) throw error;
        return new Map(elsewhere.map((to) => [to, inProgress(to)]));
      });
      const verdicts = envelope.recipients
        .map((to) => refused.get(to) ?? others.get(to) ?? this.#answer(message, to, tasks.get(to)))
        .map((verdict) => this.#softened(verdict));
      const told = verdicts.filter(({ recipient }) => logged.has(recipient));
      this.teller.tell(message, envelope.sender, told, verdicts);
      return verdicts;
    };
    return withinTime(waitMs, 'no verdict', { startTimer: this.#earlyTimer }, work);
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
    const work = async (limit: TimeLimit) => {
      const tasks = this.#tasks.of(message, recipients);
      await this.#wait(message, tasks, limit);
      const elsewhere = recipients.filter((to) => tasks.get(to)?.elsewhere.has(to) ?? true);
      const others = await this.#outcomes(message, elsewhere, NOTHING_KNOWN, limit);
      return recipients
        .map((to) => others.get(to) ?? this.#answer(message, to, tasks.get(to)))
        .map((verdict) => this.#softened(verdict));
    };
    return withinTime(
      waitMs,
      'no verdict',
      { signals: [this.#stopping.signal], startTimer: this.#earlyTimer },
      work,
    );
  }

  /** Ends the waiting of those that ask, since this program stops. */
  stop(): void {
    this.#stopping.abort();
  }

  /** A last try to record what could not be recorded; if that fails, the next start lists it as unknown. */
  async flush(): Promise<void> {
    await this.#writer.flush();
  }

  /** Resolves when a post could be taken, as far as the ledger is concerned. */
  async check(): Promise<void> {
    await this.#ledger.check().catch((error: Error) => this.#ledgerFailed(error));
  }

  /**
   * Resolves when nothing is being sent any more. A client that went away has left its message with the
   * backend: the proxy must not end before it has recorded what became of it.
   */
  async settled(): Promise<void> {
    await Promise.allSettled(Array.from(this.#tasks.all, async ({ done }) => done));
  }

  /** The task of each recipient: one that another post has begun, or a new one for all others. */
  #tasksFor(
    message: MessageToSend,
    recipients: readonly string[],
    waitMs: number,
  ): Map<string, DeliveryTask> {
    const { envelope, ...rest } = message;
    const digest = createHash('sha256').update(message.bytes).digest();
    const tasks = this.#tasks.of(message, recipients);
    for (const task of tasks.values()) {
      if (!task.digest.equals(digest)) throw new DigestConflictError(message.id);
    }
    const fresh = recipients.filter((recipient) => !tasks.has(recipient));
    if (fresh.length === 0) return tasks;
    const task = this.#begin({ ...rest, ...envelope, recipients: fresh }, digest, waitMs);
    for (const recipient of fresh) tasks.set(recipient, task);
    return tasks;
  }

  /** Waits until all tasks are done, or the time is up. Rejects as the first task that rejects, which is then heard. */
  async #wait(
    message: MessageName,
    tasks: Map<string, DeliveryTask>,
    limit: TimeLimit,
  ): Promise<void> {
    const done = Array.from(new Set(tasks.values()), async (task) => task.done);
    try {
      await Promise.race([Promise.all(done), limit.reached]);
    } catch (error) {
      for (const [recipient, task] of tasks) {
        if (task.failed) this.#tasks.forget(message, recipient, task);
      }
      throw error;
    }
  }

  #begin(delivery: Delivery, digest: Buffer, waitMs: number): DeliveryTask {
    const task: DeliveryTask = {
      digest,
      begun: false,
      done: never,
      failed: false,
      recorded: false,
      elsewhere: new Set(),
      answeredInProgress: false,
      answered: false,
    };
    this.#tasks.add(delivery, delivery.recipients, task);
    task.done = this.#run(task, delivery, waitMs);
    task.done.catch(() => {}); // Each post that waits handles the error; there may be none.
    return task;
  }

  async #run(task: DeliveryTask, delivery: Delivery, waitMs: number): Promise<void> {
    const { sender, recipients } = delivery;
    const release = delivery.hold?.();
    try {
      const verdicts = await this.#deliver(task, delivery, waitMs);
      task.verdicts = new Map(verdicts.map((verdict) => [verdict.recipient, verdict]));
      this.#release(delivery, task);
      const told = verdicts.map((verdict) => this.#softened(verdict));
      if (task.answeredInProgress) this.teller.tell(delivery, sender, told);
    } catch (error) {
      task.failed = true;
      for (const recipient of recipients) {
        this.#tasks.forgetUnlessAskedFor(delivery, recipient, task);
      }
      throw error;
    } finally {
      release?.();
    }
  }

  async #deliver(task: DeliveryTask, delivery: Delivery, waitMs: number): Promise<Verdict[]> {
    const { recipients } = delivery;
    const sentBefore = await this.#sentWithoutKeyName(delivery, task.digest, waitMs);
    const known = await this.#ledger
      .known(delivery, recipients, task.digest)
      .catch((error: Error) => this.#ledgerFailed(error));
    const repeats = repeatsOf(task, new Map<string, Known>([...sentBefore, ...known]));
    const fresh = withoutKnown(delivery, sentBefore, known);
    const admitted = fresh.recipients.length > 0 ? this.#policy(fresh) : [];
    if (Array.isArray(admitted)) {
      task.recorded = true;
      return [...repeats, ...admitted];
    }
    const { place, grant } = await this.#admit(admitted.recipients.length, waitMs);
    const [paced, surplus] = split(admitted, grant.recipients);
    task.begun = true;
    const found = await this.#ledger
      .begin(delivery, task.digest, paced.recipients)
      .catch(async (error: Error) => {
        place.release();
        await this.#giveBack(grant, grant.recipients);
        return this.#ledgerFailed(error);
      });
    repeats.push(...repeatsOf(task, found), ...surplus);
    const begun = withoutKnown(paced, found);
    const results = await this.#sendOn(place, begun, grant);
    await this.#writer.write(delivery, results, () => {
      task.recorded = true;
      this.#release(delivery, task);
    });
    return [...repeats, ...results.map(verdictOf)];
  }

  /**
   * The recipients that were sent the same bytes under the same id by a delivery that was under way when the key was
   * given its name: it is waited for (law 6). Its refusals count for nothing, since it may be another host's. Rejects
   * with BackendBusyError when it takes too long.
   */
  async #sentWithoutKeyName(
    { key, id, recipients }: Delivery,
    digest: Buffer,
    waitMs: number,
  ): Promise<Map<string, SentRecord>> {
    const sent = new Map<string, SentRecord>();
    if (key === '') return sent;
    const others = [...this.#tasks.of({ key: '', id }, recipients)];
    const same = others.filter(([, task]) => task.digest.equals(digest));
    if (same.length === 0) return sent;
    const done = Promise.allSettled(same.map(async ([, task]) => task.done));
    const work = async (limit: TimeLimit) => Promise.race([done, limit.reached]);
    if (!(await withinTime(reserveMs(waitMs), 'no end', { startTimer: this.#earlyTimer }, work))) {
      throw new BackendBusyError('the same message is still being sent');
    }
    for (const [recipient, { verdicts }] of same) {
      const verdict = verdicts?.get(recipient);
      if (verdict && statusClass(verdict.status) === 'sent') sent.set(recipient, verdict);
    }
    return sent;
  }

  /**
   * A place at the backend, and leave for these recipients or the first of them. Ends before the post is answered, so that
   * nothing is begun after a 429.
   */
  async #admit(recipients: number, waitMs: number): Promise<{ place: Place; grant: Grant }> {
    const endsAt = this.clock.now() + reserveMs(waitMs);
    this.#pacer.requireOpen();
    const place = await this.#reserve(waitMs);
    try {
      const grant = await this.#pacer.take(recipients, endsAt - this.clock.now());
      return { place, grant };
    } catch (error) {
      place.release();
      if (error instanceof BackendBusyError) throw error;
      return this.#ledgerFailed(error as Error);
    }
  }

  async #reserve(waitMs: number): Promise<Place> {
    const work = async (giveUp: TimeLimit) => this.#backend.reserve(giveUp);
    try {
      return await withinTime(reserveMs(waitMs), 'no room', { startTimer: this.#earlyTimer }, work);
    } catch (error) {
      if (error instanceof BackendThrottledError) throw this.#pacer.throttled(error);
      if (error instanceof BackendUnavailableError) return this.#unavailable(error);
      if (error instanceof BackendBusyError) return this.#busy();
      throw error;
    }
  }

  /**
   * Calls the backend. Where it is unavailable, the ledger forgets the recipients, and their part of the quotas is given
   * back: nothing was sent.
   */
  async #sendOn(place: Place, delivery: Delivery, grant: Grant): Promise<Result[]> {
    const { recipients } = delivery;
    if (recipients.length === 0) {
      place.release();
      await this.#giveBack(grant, grant.recipients);
      return [];
    }
    try {
      const results = await this.#call(place, delivery);
      if (results.some((result) => !('unknown' in result))) {
        this.trouble = undefined;
        this.#pacer.passed();
      }
      const given = results.filter((result) => 'unknown' in result || !isSurplus(result)).length;
      await this.#giveBack(grant, grant.recipients - given);
      return results;
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) throw error;
      const nothingSent = recipients.map((address) => ({ address, kind: 'withdrawn' as const }));
      await this.#ledger
        .settle(delivery, nothingSent)
        .catch((fault: Error) => this.#ledgerFailed(fault));
      await this.#giveBack(grant, grant.recipients);
      if (error instanceof BackendThrottledError) throw this.#pacer.throttled(error);
      return this.#unavailable(error);
    }
  }

  /** Calls the backend, and counts how long it took and of how many recipients nobody knows what became. */
  async #call(place: Place, delivery: Delivery): Promise<Result[]> {
    const began = this.clock.now();
    const results = await callBackend(place, delivery, this.clock);
    this.figures.count('calls');
    this.figures.countTime('backend', this.clock.now() - began);
    const unknown = results.filter((result) => 'unknown' in result).length;
    if (unknown > 0) this.figures.count('unknown', '', unknown);
    return results;
  }

  /** Where it fails, the recipients count as sent: the provider gets less than it would take. */
  async #giveBack(grant: Grant, recipients: number): Promise<void> {
    await grant.giveBack(recipients).catch(() => {});
  }

  /** Forgets a task that is done and recorded: the ledger knows what was sent. */
  #release(message: MessageName, task: DeliveryTask): void {
    if (!task.recorded || !task.verdicts) return;
    for (const recipient of task.elsewhere) this.#tasks.forget(message, recipient, task);
    for (const { recipient, status } of task.verdicts.values()) {
      if (statusClass(status) === 'sent') this.#tasks.forget(message, recipient, task);
      else this.#tasks.forgetUnlessAskedFor(message, recipient, task);
    }
  }

  /** The verdicts on recipients that other proxies send, or of which the ledger alone knows; `absent` where nobody does. */
  async #outcomes(
    { digest, ...message }: MessageName & { digest?: Buffer | undefined },
    recipients: readonly string[],
    absent: SentRecord,
    limit: TimeLimit,
  ): Promise<Map<string, Verdict>> {
    if (recipients.length === 0) return new Map();
    const known = await this.#ledger
      .outcomes(message, recipients, limit.signal, digest)
      .catch((error: Error) => this.#ledgerFailed(error));
    const verdicts = recipients.map((to) => outcomeVerdict(to, known.get(to) ?? absent));
    return new Map(verdicts.map((verdict) => [verdict.recipient, verdict]));
  }

  /** The verdict for a client. A delivery that goes on is in progress; one that waits for a place is to be posted again. */
  #answer(message: MessageName, recipient: string, task: DeliveryTask | undefined): Verdict {
    if (!task) return lost(recipient);
    if (task.verdicts) {
      task.answered = true;
      if (task.recorded) this.#tasks.forget(message, recipient, task);
      return task.verdicts.get(recipient) ?? lost(recipient);
    }
    if (!task.begun) return { recipient, status: statuses.surplus, reason: BUSY };
    task.answeredInProgress = true;
    return inProgress(recipient);
  }

  /** With --soft-bounce no refusal is final. Nothing else differs, since the ledger forgets both kinds. */
  #softened(verdict: Verdict): Verdict {
    const { status, reason } = verdict;
    if (!this.softBounce || statusClass(status) !== 'failed') return verdict;
    const softened = `soft bounce of ${status}: ${reason}`;
    return { ...verdict, status: asDeferred(status), reason: softened };
  }

  #ledgerFailed(error: Error): never {
    if (error instanceof DigestConflictError) throw error;
    const text = `the ledger cannot be written: ${this.#ledger.faultText(error)}`;
    return this.#unavailable(new BackendUnavailableError(text));
  }

  /** A timer for answers of ours: they may come early, so no time is added after a suspension of the machine. */
  readonly #earlyTimer = (ms: number, callback: () => void): (() => void) =>
    this.clock.timer(ms, callback, { idle: true });

  #busy(): never {
    const now = this.clock.now();
    if (now >= this.#busyTellAt) {
      this.#busyTellAt = now + limits.slowerRepeatMs;
      this.#journal.busy(BUSY);
    }
    throw new BackendBusyError(BUSY);
  }

  #unavailable(error: BackendUnavailableError): never {
    this.trouble = { text: error.message, since: this.trouble?.since ?? this.clock.now() };
    this.#journal.trouble(error.message);
    throw error;
  }
}

/** The delivery to the first recipients, and the verdicts on the others, who are posted again at once. */
function split(delivery: Delivery, count: number): [Delivery, Verdict[]] {
  const { recipients } = delivery;
  const later = recipients.slice(count).map((recipient) => {
    return { recipient, status: statuses.surplus, reason: PACED };
  });
  return [{ ...delivery, recipients: recipients.slice(0, count) }, later];
}

/** How long a delivery may wait for its place before it begins. */
function reserveMs(waitMs: number): number {
  return Math.max(0, waitMs - limits.roomMarginMs);
}

/** The verdicts on those that were sent before. Notes in the task which other proxies are sending. */
function repeatsOf(task: DeliveryTask, known: Map<string, Known>): Verdict[] {
  return [...known].flatMap(([recipient, found]) => {
    if (found !== 'elsewhere') return [{ recipient, ...found, sentBefore: true as const }];
    task.elsewhere.add(recipient);
    return [];
  });
}

/** The delivery, but for recipients that are known. */
function withoutKnown(delivery: Delivery, ...known: Map<string, Known>[]): Delivery {
  const recipients = delivery.recipients.filter((to) => !known.some((each) => each.has(to)));
  return { ...delivery, recipients };
}

/** The verdict on a recipient of a delivery that was waited for, by what the ledger knows of it. */
function outcomeVerdict(recipient: string, known: Known): Verdict {
  return known === 'elsewhere' ? inProgress(recipient) : { recipient, ...known };
}

function inProgress(recipient: string): Verdict {
  return { recipient, status: statuses.inProgress, reason: IN_PROGRESS, inProgress: true };
}

function verdictOf(result: Result): Verdict {
  if (!('unknown' in result)) return result;
  return { recipient: result.recipient, status: statuses.unknown, reason: result.unknown };
}

/**
 * The first client that hears the verdicts of a task has them logged; where a client was answered `in progress`, they
 * are logged when the task is done.
 */
function isUnlogged(task: DeliveryTask | undefined): boolean {
  return task !== undefined && !task.answeredInProgress && !task.answered;
}

function lost(recipient: string): never {
  throw new Error(`no verdict on ${recipient}: a defect of the proxy`);
}

const never = new Promise<void>(() => {});
const PACED = 'the pace of the proxy allows fewer recipients at once, post the rest again';
const BUSY = 'no connection to the relay was free in time';
const IN_PROGRESS = 'it is still being sent';
/** Another proxy was about to send it, and could not: posted again, it is begun anew. */
const POST_AGAIN = {
  status: statuses.surplus,
  reason: 'another proxy was about to send it and could not',
};
const NOTHING_KNOWN = {
  status: statuses.unknown,
  reason: 'the proxy does not know whether it was sent',
};
