import { limits } from '../limits.ts';
import type { Verdict } from '../wire/verdicts.ts';
import { storedName, type MessageName } from './ledger/message-name.ts';

/** The delivery of one post, which every post of the same recipients waits for. */
export interface Task {
  /** SHA-256 of the message. */
  digest: Buffer;
  /** Whether it has its room at the backend, so that it goes on whoever waits for it. */
  begun: boolean;
  /** Resolves when there are verdicts; rejects when nothing was sent. */
  over: Promise<void>;
  verdicts?: Map<string, Verdict>;
  failed: boolean;
  /** Whether the ledger has the verdicts. */
  written: boolean;
  /** Whether a client was told that it is in progress. */
  late: boolean;
  /** Whether the journal has the verdicts. */
  told: boolean;
}

/** Deliveries that are under way, or over and not heard of, by message and recipient. */
export class DeliveryTasks {
  readonly #tasks = new Map<string, Task>();

  get all(): Iterable<Task> {
    return this.#tasks.values();
  }

  of(message: MessageName, recipients: readonly string[]): Map<string, Task> {
    const found = new Map<string, Task>();
    for (const recipient of recipients) {
      const task = this.#tasks.get(taskName(message, recipient));
      if (task) found.set(recipient, task);
    }
    return found;
  }

  add(message: MessageName, recipients: readonly string[], task: Task): void {
    for (const recipient of recipients) this.#tasks.set(taskName(message, recipient), task);
  }

  /** A later post of the recipient may have begun another task, which stays. */
  forget(message: MessageName, recipient: string, task: Task): void {
    if (this.#tasks.get(taskName(message, recipient)) === task)
      this.#tasks.delete(taskName(message, recipient));
  }

  /** After a late task its end is kept for a while: the client may be about to ask. */
  forgetUnlessLate(message: MessageName, recipient: string, task: Task): void {
    const forget = () => this.forget(message, recipient, task);
    if (task.late) setTimeout(forget, limits.unheardMs).unref();
    else forget();
  }
}

function taskName(message: MessageName, recipient: string): string {
  return `${storedName(message)} ${recipient}`;
}
