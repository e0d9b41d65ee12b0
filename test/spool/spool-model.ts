import { limits } from '../../src/limits.ts';
import type { Verb } from '../../src/spool/operate.ts';
import type { MessageState, RecipientState } from '../../src/spool/spool.ts';
import type { Counters } from '../../src/spool/stats.ts';

export interface ModelMessage {
  id: string;
  /** Exim's id and the number of the content: with an address the key of law 2. */
  eximId: string;
  content: number;
  size: number;
  state: MessageState;
  recipients: { address: string; state: RecipientState; status: string | null }[];
  dueAt: number | null;
  attempts: number;
  deferrals: number;
  postedAt: number | null;
  renewedAt: number;
  outageMs: number;
  finishedAt: number | null;
  lastStatus: string | null;
  hasBody: boolean;
  owesNotice: boolean;
  /** What happened to it, as long as it is not more than the spool keeps. */
  history: string[];
}

export interface ModelVerdict {
  position: number;
  state: 'sent' | 'pending' | 'failed';
  status: string;
}

const STATES = ['queued', 'sending', 'held', 'failed', 'sent', 'bounced', 'deleted'] as const;

/** What a spool must do, in plain arrays: slow, in memory, and short enough to be seen to be right. */
export class SpoolModel {
  now = 1_800_000_000_000;
  /** In the order of arrival; house-keeping takes them out. */
  messages: ModelMessage[] = [];
  readonly #forgotten: Pick<ModelMessage, 'state' | 'size'>[] = [];
  #downSince: number | null = null;
  #outageMs = 0;

  get outageMs(): number {
    const present = this.#downSince === null ? 0 : Math.max(0, this.now - this.#downSince);
    return this.#outageMs + present;
  }

  /** In messages. */
  get counters(): Counters {
    return this.#count(() => 1);
  }

  get bytes(): Counters {
    return this.#count(({ size }) => size);
  }

  #count(amount: (message: Pick<ModelMessage, 'size'>) => number): Counters {
    const all = [...this.#forgotten, ...this.messages];
    const sum = (messages: typeof all) =>
      messages.reduce((total, message) => total + amount(message), 0);
    const states = STATES.map((state) => [state, sum(all.filter((each) => each.state === state))]);
    return {
      accepted: sum(all),
      damaged: 0,
      ...(Object.fromEntries(states) as Omit<Counters, 'accepted' | 'damaged'>),
    };
  }

  get nextDueAt(): number | undefined {
    const due = this.messages.flatMap(({ dueAt }) => dueAt ?? []);
    if (due.length === 0) return undefined;
    return Math.min(...due);
  }

  /** The message that has a recipient of a hand-over already. */
  find(eximId: string, content: number, address: string): ModelMessage | undefined {
    return this.messages.find(
      (message) =>
        message.eximId === eximId &&
        message.content === content &&
        message.recipients.some((recipient) => recipient.address === address),
    );
  }

  /** Stores a new message for the recipients that are not known; `id` is the one it was given. */
  enqueue(id: string, eximId: string, content: number, size: number, addresses: string[]): void {
    const fresh = [...new Set(addresses)].filter((each) => !this.find(eximId, content, each));
    if (fresh.length === 0) return;
    this.messages.push({
      id,
      eximId,
      content,
      size,
      state: 'queued',
      recipients: fresh.map((address) => ({ address, state: 'pending', status: null })),
      dueAt: this.now,
      attempts: 0,
      deferrals: 0,
      postedAt: null,
      renewedAt: this.now,
      outageMs: this.outageMs,
      finishedAt: null,
      lastStatus: null,
      hasBody: true,
      owesNotice: false,
      history: [],
    });
  }

  claim(room: { messages: number; bytes: number }): ModelMessage[] {
    if (room.messages === 0) return [];
    const queued = this.messages.filter(({ state }) => state === 'queued');
    // A stable sort: messages that are due at the same time stay in the order of arrival.
    const due = queued
      .filter(({ dueAt }) => (dueAt ?? Infinity) <= this.now)
      .toSorted((one, two) => (one.dueAt ?? 0) - (two.dueAt ?? 0))
      .slice(0, room.messages + limits.claimLookAhead);
    const claimed: ModelMessage[] = [];
    let bytes = room.bytes;
    for (const message of due) {
      if (claimed.length === room.messages || message.size > bytes) continue;
      bytes -= message.size;
      Object.assign(message, { state: 'sending', dueAt: null });
      if (message.postedAt === null) {
        Object.assign(message, {
          renewedAt: this.now,
          outageMs: this.outageMs,
          postedAt: this.now,
        });
      }
      claimed.push(message);
    }
    return claimed;
  }

  record(
    message: ModelMessage,
    verdicts: readonly ModelVerdict[],
    { charged, dueAt, lastStatus }: { charged: boolean; dueAt: number; lastStatus: string },
  ): void {
    for (const { position, state, status } of verdicts) {
      Object.assign(message.recipients[position] ?? {}, { state, status });
      if (state === 'failed') message.owesNotice = true;
    }
    message.attempts += charged ? 1 : 0;
    message.deferrals += charged ? 1 : 0;
    message.lastStatus = lastStatus;
    message.history.push(charged ? 'attempt' : 'postponed');
    if (!this.#finish(message)) Object.assign(message, { state: 'queued', dueAt });
  }

  operate(verb: Verb | 'returned', message: ModelMessage, force: boolean): string {
    const { state, postedAt, hasBody } = message;
    if (state === 'sending') return 'busy';
    const failed = state === 'failed' || state === 'bounced';
    const waits = state === 'queued' || state === 'held';
    const fits = {
      retry: state === 'queued' || (failed && hasBody),
      hold: state === 'queued',
      release: state === 'held',
      bounce: waits,
      delete: waits || failed,
      return: waits || (failed && hasBody),
      returned: waits,
    };
    if (!fits[verb]) return 'wrong-state';
    const old = postedAt !== null && this.now - postedAt > 25 * DAY_MS;
    if ((verb === 'retry' || verb === 'release') && old && !force) return 'needs-force';

    const set = (states: RecipientState[], next: RecipientState, status?: string | null) => {
      for (const recipient of message.recipients) {
        if (!states.includes(recipient.state)) continue;
        recipient.state = next;
        if (status !== undefined) recipient.status = status;
      }
    };
    message.history.push(verb);
    if (verb === 'hold' || verb === 'return') {
      if (failed) set(['failed', 'bounced'], 'pending', null);
      Object.assign(message, { state: 'held', dueAt: null, finishedAt: null });
    }
    if (verb === 'bounce') {
      message.owesNotice ||= message.recipients.some((each) => each.state === 'pending');
      set(['pending'], 'failed', '5.7.1');
      this.#finish(message);
    }
    if (verb === 'delete' || verb === 'returned') {
      set(verb === 'delete' ? ['pending', 'failed', 'bounced'] : ['pending'], 'deleted');
      this.#finish(message);
    }
    if (verb === 'retry' || verb === 'release') {
      if (verb === 'retry') set(failed ? ['failed', 'bounced'] : ['failed'], 'pending', null);
      Object.assign(message, { state: 'queued', dueAt: this.now, finishedAt: null, deferrals: 0 });
      Object.assign(message, { renewedAt: this.now, outageMs: this.outageMs });
    }
    return 'done';
  }

  /** What a new drain does first; returns how many were in flight. */
  recover(): number {
    const sending = this.messages.filter(({ state }) => state === 'sending');
    for (const message of sending) Object.assign(message, { state: 'queued', dueAt: this.now });
    return sending.length;
  }

  keepHouse(): void {
    const older = (message: ModelMessage, days: number) =>
      message.finishedAt !== null && message.finishedAt < this.now - days * DAY_MS;
    for (const message of this.messages) {
      if (older(message, 30) && !message.owesNotice) this.#forgotten.push({ ...message });
      if (older(message, 5) && message.state === 'bounced') message.hasBody = false;
    }
    this.messages = this.messages.filter((message) => !older(message, 30) || message.owesNotice);
  }

  /** The sender of the first message that owes a notice gets it, or nothing when nothing failed. */
  tell(): void {
    const message = this.messages.find(({ owesNotice }) => owesNotice);
    if (!message) return;
    message.owesNotice = false;
    const failed = message.recipients.filter(({ state }) => state === 'failed');
    for (const recipient of failed) recipient.state = 'bounced';
    if (failed.length === 0) return;
    this.#finish(message);
    message.history.push('reported');
  }

  down(): void {
    this.#downSince ??= this.now;
  }

  passed(): void {
    this.#outageMs = this.outageMs;
    this.#downSince = null;
  }

  #finish(message: ModelMessage): boolean {
    const states = new Set(message.recipients.map(({ state }) => state));
    if (states.has('pending')) return false;
    const order = ['failed', 'deleted', 'bounced', 'sent'] as const;
    const state = order.find((each) => states.has(each));
    Object.assign(message, { state, dueAt: null, finishedAt: this.now });
    if (state === 'sent' || state === 'deleted') message.hasBody = false;
    return true;
  }
}

export const DAY_MS = 86_400_000;
