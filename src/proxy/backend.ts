/** A message for a backend: raw bytes and true envelope, the recipients already found to be valid. */
export interface Delivery {
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
