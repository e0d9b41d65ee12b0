import { limits } from '../mail/limits.ts';
import type { Verdict } from '../wire/verdicts.ts';

/** The delivery of one post, which every post of the same recipients waits for. */
export interface Task {
  /** SHA-256 of the message. */
  digest: Buffer;
  /** Whether it has its room at the backend, so that it goes on whoever waits for it. */
  begun: boolean;
  /** Resolves when there are verdicts; rejects when nothing was sent. */
  over: Promise<void>;
  verdicts?: Map<string, Verdict>;
  /** Whom the ledger knew as sent: nothing was sent to them again. */
  repeated: ReadonlySet<string>;
  failed: boolean;
  /** Whether the ledger has the verdicts. */
  written: boolean;
  /** Whether a client was told that it is in progress. */
  late: boolean;
  /** Whether the journal has the verdicts. */
  told: boolean;
}

/** Deliveries that are under way, or over and not heard of, by message id and recipient. */
export class DeliveryTasks {
  readonly #tasks = new Map<string, Task>();

  get all(): Iterable<Task> {
    return this.#tasks.values();
  }

  of(id: string, recipients: readonly string[]): Map<string, Task> {
    const found = new Map<string, Task>();
    for (const recipient of recipients) {
      const task = this.#tasks.get(key(id, recipient));
      if (task) found.set(recipient, task);
    }
    return found;
  }

  add(id: string, recipients: readonly string[], task: Task): void {
    for (const recipient of recipients) this.#tasks.set(key(id, recipient), task);
  }

  /** A later post of the recipient may have begun another task, which stays. */
  forget(id: string, recipient: string, task: Task): void {
    if (this.#tasks.get(key(id, recipient)) === task) this.#tasks.delete(key(id, recipient));
  }

  /** After a late task its end is kept for a while: the client may be about to ask. */
  forgetUnlessLate(id: string, recipient: string, task: Task): void {
    const forget = () => this.forget(id, recipient, task);
    if (task.late) setTimeout(forget, limits.unheardMs).unref();
    else forget();
  }
}

function key(id: string, recipient: string): string {
  return `${id} ${recipient}`;
}
