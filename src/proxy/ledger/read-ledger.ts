import type { ShownTime } from '../../sqlite/shown-time.ts';
import { nameOfStored, type MessageName } from './message-name.ts';

/** unknown: nobody knows whether it was sent; begun: the backend has it; sent: it is not sent again. */
export const recipientStates = ['unknown', 'begun', 'sent'] as const;
export type RecipientState = (typeof recipientStates)[number];

/** A recipient as the ledger knows it. Absent values are null. */
export interface KnownRecipient extends MessageName {
  address: string;
  state: RecipientState;
  /** The status of the answer to one that was sent. */
  status: string | null;
  /** The reason of that answer; or why it is unknown. */
  reason: string | null;
  /** When it was listed as unknown, or its message was posted last: for people, in milliseconds since 1970. */
  at: number;
  /** Whether an unknown recipient was sent when it was posted again: it may have the message twice. */
  sentAgain: boolean;
}

/** Which recipients to list; a property that is absent restricts nothing. */
export interface KnownFilter {
  states: readonly RecipientState[];
  /** An address, or @domain for all addresses in this domain; upper and lower case are the same. */
  recipient?: string | undefined;
  /** By `at`, in milliseconds since 1970. */
  before?: number | undefined;
}

/** How much the ledger knows; times in milliseconds since 1970, for people. */
export interface LedgerStats {
  messages: number;
  recipients: Record<RecipientState, number>;
  /** When the first of those that are unknown was listed. */
  oldestUnknownAt: number | null;
  /** When the message was posted that will be forgotten first, and the one that was posted last. */
  oldestPostedAt: number | null;
  latestPostedAt: number | null;
}

/**
 * A ledger that is open to be read, also beside its proxies. `wallNow` is the time of day for people, in milliseconds since
 * 1970.
 */
export interface LedgerReader {
  /**
   * The recipients that fit the filter: first those that are unknown, as they were listed, then the others, by the names
   * of their messages. Reads a page at a time, so that a long list does not disturb the proxy.
   */
  list(
    filter: KnownFilter,
    wallNow: number,
  ): Iterable<KnownRecipient> | AsyncIterable<KnownRecipient>;

  /** All that is known of the recipients of a message, or of those of several keys that have the same id. */
  find(id: string, wallNow: number): KnownRecipient[] | Promise<KnownRecipient[]>;

  /** The ledger in numbers, at one moment; it counts all rows. */
  stats(wallNow: number): LedgerStats | Promise<LedgerStats>;

  close(): void | Promise<void>;
}

/** A row of the table `unknown`; `at` is for people. */
export interface UnknownRow {
  message: string;
  address: string;
  reason: string;
  at: number;
  sentAgain: number | boolean;
}

export function knownOfUnknown(row: UnknownRow): KnownRecipient {
  const { message, address, reason, at } = row;
  const named = { ...nameOfStored(message), address };
  return {
    ...named,
    state: 'unknown',
    status: null,
    reason,
    at,
    sentAgain: Boolean(row.sentAgain),
  };
}

/** A row of the table `recipient`, with the observed time of its message. */
export interface PostedRow {
  message: string;
  address: string;
  state: 'begun' | 'sent';
  status: string | null;
  reason: string | null;
  at: number;
}

export function knownOfPosted(
  { message, at, ...row }: PostedRow,
  { wall }: ShownTime,
): KnownRecipient {
  return { ...nameOfStored(message), ...row, at: wall(at), sentAgain: false };
}

/** Before the first row of the table `recipient`. */
export const BEFORE_ALL = { message: '', address: '' };
/** Later than every row. */
export const ANY_TIME = Number.MAX_SAFE_INTEGER;
