import type { Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import type { Verdict } from '../wire/verdicts.ts';
import { storedName, type MessageName } from './ledger/message-name.ts';

/** The delivery that a post has caused; every post of the same recipients waits for it. */
export interface DeliveryTask {
  /** SHA-256 of the message. */
  digest: Buffer;
  /** Whether it has its place at the backend: then it goes on even if nobody waits for it. */
  begun: boolean;
  /** Resolves when there are verdicts; rejects when nothing was sent. */
  done: Promise<void>;
  verdicts?: Map<string, Verdict>;
  /** Those of its recipients that another proxy is sending: there are no verdicts on them. */
  elsewhere: Set<string>;
  /** Whether `done` has rejected. */
  failed: boolean;
  /** Whether the ledger has the verdicts. */
  recorded: boolean;
  /** Whether a client was answered that it is in progress. */
  answeredInProgress: boolean;
  /** Whether a client was answered with a verdict. */
  answered: boolean;
}

/** Deliveries that are under way, or done and not heard of yet, by message and recipient. */
export class DeliveryTasks {
  readonly #clock: Clock;
  readonly #tasks = new Map<string, DeliveryTask>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get all(): Iterable<DeliveryTask> {
    return this.#tasks.values();
  }

  /** The tasks of those recipients of a message that have one. */
  of(message: MessageName, recipients: readonly string[]): Map<string, DeliveryTask> {
    const found = new Map<string, DeliveryTask>();
    for (const recipient of recipients) {
      const task = this.#tasks.get(taskName(message, recipient));
      if (task) found.set(recipient, task);
    }
    return found;
  }

  add(message: MessageName, recipients: readonly string[], task: DeliveryTask): void {
    for (const recipient of recipients) this.#tasks.set(taskName(message, recipient), task);
  }

  /** Forgets this task; one that a later post of the recipient has begun stays. */
  forget(message: MessageName, recipient: string, task: DeliveryTask): void {
    const name = taskName(message, recipient);
    if (this.#tasks.get(name) === task) this.#tasks.delete(name);
  }

  /** Forgets this task; after limits.unheardMs when a client knows of it, since it may be about to ask. */
  forgetUnlessAskedFor(message: MessageName, recipient: string, task: DeliveryTask): void {
    const forget = () => this.forget(message, recipient, task);
    if (task.answeredInProgress) this.#clock.timer(limits.unheardMs, forget, { idle: true });
    else forget();
  }
}

function taskName(message: MessageName, recipient: string): string {
  return `${storedName(message)} ${recipient}`;
}
