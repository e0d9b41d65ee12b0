import type { Clock } from '../../host/clock.ts';
import type { ProxyJournal } from '../proxy-journal.ts';
import type { FigureStore } from './figure-store.ts';
import type { MessageName } from './message-name.ts';

/** The verdict on a recipient, as the ledger remembers it. */
export interface SentRecord {
  status: string;
  reason: string;
}

/** What the ledger knows of a recipient: that it was sent, or that another proxy is sending it. */
export type Known = SentRecord | 'elsewhere';

/**
 * What became of a recipient that was begun: sent (remembered), refused (forgotten), withdrawn (the backend was given
 * nothing; forgotten) or unknown (listed).
 */
export type Settlement =
  | { address: string; kind: 'sent'; status: string; reason: string }
  | { address: string; kind: 'refused'; status: string; reason: string }
  | { address: string; kind: 'withdrawn' }
  | { address: string; kind: 'unknown'; reason: string };

/** The same id was posted with other bytes before. */
export class DigestConflictError extends Error {
  override readonly name = 'DigestConflictError';

  constructor(id: string) {
    super(`${id} was posted before with other bytes`);
  }
}

/**
 * The durable memory of one proxy, or of several that share it (law 6): which recipients of which message of which key were
 * begun and sent. Observed time decides what is old; the wall clock is for people who read the lists.
 *
 * Every method rejects with an error that `faultText` explains when the ledger cannot be used, and nothing was written
 * then, or nobody can know whether it was.
 */
export interface Ledger {
  /** Made at random when the ledger was made: proxies with the same id share what was sent. */
  readonly id: string;
  /** What --ledger names, without any secret, for people and for command lines. */
  readonly name: string;
  readonly clock: Clock;
  /** Whether it knew of no message at all when it was opened. */
  readonly isEmpty: boolean;
  /**
   * How many recipients are listed as unknown, limits.unknownCounted at most; and how many were added to the list when the
   * ledger was opened, since they were left as begun.
   */
  readonly unknown: { listed: number; found: number };
  /** Where a proxy's figures are kept; `proxy` is a name that it keeps when it starts again, and that no other one has. */
  figures(proxy: string): FigureStore;

  /**
   * What is known of these recipients. Recipients that were sent under the same id before the key had a name count too where
   * the digest is the same: with another one it may be the message of another host. Rejects with DigestConflictError when
   * the message is known with another digest than the given one.
   */
  known(
    message: MessageName,
    addresses: readonly string[],
    digest?: Buffer,
  ): Promise<Map<string, Known>>;

  /**
   * Commits recipients as begun, but for those that it knows: these it returns. Rejects with DigestConflictError, as `known`
   * does.
   */
  begin(
    message: MessageName,
    digest: Buffer,
    addresses: readonly string[],
  ): Promise<Map<string, Known>>;

  /**
   * Commits what became of recipients that this proxy has begun. Returns those that it could not settle, since another proxy
   * took this one for dead meanwhile and listed them as unknown.
   */
  settle(message: MessageName, settled: readonly Settlement[]): Promise<string[]>;

  /**
   * Waits until another proxy sends none of these recipients any more, or `timeUp` aborts: what is known then, also the
   * verdicts on those that the other proxy has just refused, or of whom it cannot know.
   */
  outcomes(
    message: MessageName,
    addresses: readonly string[],
    timeUp: AbortSignal,
    digest?: Buffer,
  ): Promise<Map<string, Known>>;

  /**
   * Changes the one text in which all proxies of this ledger keep what they spent of their quotas, in one commit. `change` is
   * given it, '' at first, and the ledger's time in milliseconds, which no step of a clock moves; it may be called again.
   */
  changePace<T>(change: (text: string, now: number) => { text: string; result: T }): Promise<T>;

  /** Resolves when something could be written. */
  check(): Promise<void>;

  /**
   * Deletes a bounded number of what is older than 30 days in observed time, which it also writes down; returns whether
   * there is more.
   */
  prune(): boolean | Promise<boolean>;

  /** What an error of this ledger means, and what to do about it. */
  faultText(error: Error): string;

  /** Prunes and watches until stopped; resolves earlier, with what is wrong, when the proxy has to end. */
  tend(journal: ProxyJournal, stop: AbortSignal): Promise<Error | undefined>;

  close(): void | Promise<void>;
}
