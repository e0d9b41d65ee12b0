import { limits } from '../../limits.ts';
import type { Quota } from './quota.ts';

/**
 * What was spent of quotas, and what is left. A quota holds in every window of its length, and not only in those that begin
 * with a full minute or at midnight: its window slides, in `limits.paceBuckets` steps. What was spent in a step counts
 * until the whole of it is older than the window, so that no window of the provider's, wherever it begins, has more.
 *
 * Times are those of the ledger, in milliseconds. As a text it is JSON: for each length of a window, in milliseconds, pairs
 * of the number of a step and of recipients.
 */
export class Spending {
  readonly #windows: Window[];
  readonly #others: Kept;

  /** A text that is no spending, such as that of a damaged ledger, counts as nothing spent. */
  constructor(text: string, quotas: readonly Quota[], now: number) {
    const kept = keptOf(text);
    this.#windows = quotas.map((quota) => new Window(quota, kept[quota.windowMs], now));
    this.#others = kept;
  }

  /** How many more recipients all quotas allow now. */
  get left(): number {
    return Math.max(0, Math.min(...this.#windows.map(({ left }) => left)));
  }

  /** The most that can ever be spent at once. */
  get most(): number {
    return Math.min(...this.#windows.map(({ quota }) => quota.recipients));
  }

  /** In how many milliseconds so many recipients are allowed, if nothing else is spent; 0: now. At most `most`. */
  inMs(recipients: number): number {
    return Math.max(...this.#windows.map((window) => window.inMs(recipients)));
  }

  /** The quota that allows one more recipient last. */
  get tightest(): Quota | undefined {
    return this.#windows.toSorted((a, b) => b.inMs(1) - a.inMs(1))[0]?.quota;
  }

  spend(recipients: number): void {
    for (const window of this.#windows) window.spend(recipients);
  }

  /** Takes back what was spent at that time and was not used. */
  giveBack(recipients: number, at: number): void {
    for (const window of this.#windows) window.giveBack(recipients, at);
  }

  toString(): string {
    const ours = this.#windows.map(({ quota, steps }) => [quota.windowMs, [...steps]] as const);
    return JSON.stringify({ ...this.#others, ...Object.fromEntries(ours) });
  }
}

/**
 * A text in which what another ledger's text says was spent counts too. Its times are `laterMs` later by this ledger's time; they
 * are rounded up, so that nothing is forgotten too early.
 */
export function addSpending(text: string, other: string, laterMs: number): string {
  const kept = keptOf(text);
  for (const [window, steps = []] of Object.entries(keptOf(other))) {
    const stepMs = Number(window) / limits.paceBuckets;
    const sum = new Map(kept[window]);
    for (const [step, recipients] of steps) {
      const at = Math.max(0, step + Math.ceil(laterMs / stepMs));
      sum.set(at, (sum.get(at) ?? 0) + recipients);
    }
    kept[window] = [...sum];
  }
  return JSON.stringify(kept);
}

/** What was spent in the steps of one quota's window, the oldest first. */
class Window {
  readonly quota: Quota;
  readonly steps: Map<number, number>;
  readonly #stepMs: number;
  readonly #now: number;

  constructor(quota: Quota, kept: Kept[string], now: number) {
    this.quota = quota;
    this.#stepMs = quota.windowMs / limits.paceBuckets;
    this.#now = now;
    this.steps = new Map();
    const present = this.#stepOf(now);
    for (const [step, recipients] of (kept ?? []).toSorted(([a], [b]) => a - b)) {
      // A step of the future would never end, if the ledger's time was lost.
      const at = Math.min(step, present);
      if (this.#endsInMs(at) > 0) this.steps.set(at, (this.steps.get(at) ?? 0) + recipients);
    }
  }

  get left(): number {
    return this.quota.recipients - this.#spent;
  }

  inMs(recipients: number): number {
    let missing = recipients - this.left;
    for (const [step, spent] of this.steps) {
      if (missing <= 0) return 0;
      missing -= spent;
      if (missing <= 0) return this.#endsInMs(step);
    }
    return 0;
  }

  spend(recipients: number): void {
    const present = this.#stepOf(this.#now);
    this.steps.set(present, (this.steps.get(present) ?? 0) + recipients);
  }

  giveBack(recipients: number, at: number): void {
    const step = this.#stepOf(at);
    const spent = this.steps.get(step);
    if (spent !== undefined) this.steps.set(step, Math.max(0, spent - recipients));
  }

  get #spent(): number {
    return [...this.steps.values()].reduce((sum, each) => sum + each, 0);
  }

  #stepOf(at: number): number {
    return Math.floor(at / this.#stepMs);
  }

  /** In how many milliseconds what was spent in this step counts no more. */
  #endsInMs(step: number): number {
    return Math.ceil((step + 1) * this.#stepMs + this.quota.windowMs - this.#now);
  }
}

type Kept = Partial<Record<string, [step: number, recipients: number][]>>;

function keptOf(text: string): Kept {
  try {
    const windows = Object.entries(Object(JSON.parse(text)) as Record<string, unknown>);
    return Object.fromEntries(
      windows.map(([windowMs, steps]) => [
        windowMs,
        Array.isArray(steps) ? steps.filter(isStep) : [],
      ]),
    );
  } catch {
    return {};
  }
}

function isStep(pair: unknown): pair is [number, number] {
  return (
    Array.isArray(pair) &&
    pair.length === 2 &&
    pair.every((each) => Number.isSafeInteger(each) && each >= 0)
  );
}
