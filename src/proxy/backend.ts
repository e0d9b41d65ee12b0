import type { AllowedSenders } from './allowed-senders.ts';

/** What the client that posted a message may do: for the sender policy, before any backend. */
export interface Rights {
  /** Whom it may send as; undefined: as the proxy's own rules say. */
  allowedSenders?: AllowedSenders | undefined;
  /** It asks that a sender who is not allowed be replaced. */
  fixSender?: boolean;
}

/** A message for a backend: raw bytes and true envelope, the addresses already found to be valid. */
export interface Delivery extends Rights {
  id: string;
  sender: string;
  recipients: readonly string[];
  bytes: Buffer;
}

/** What a backend says of one recipient; `unknown` when it may have been sent or not. */
export type Result =
  { recipient: string; status: string; reason: string } | { recipient: string; unknown: string };

/**
 * Sends a message on and says what became of each recipient. Throwing BackendUnavailable means that
 * nothing was sent and that the trouble is not this message's; anything else thrown means that nobody
 * knows. The signal aborts when the time is up: from then on the outcome counts as unknown.
 */
export type Backend = (delivery: Delivery, timeUp: AbortSignal) => Promise<Result[]>;

/** The backend can take nothing at present; nothing of this message was sent. */
export class BackendUnavailable extends Error {}
