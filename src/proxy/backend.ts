import type { AllowedSenders } from './allowed-senders.ts';

/** What a message may be sent with besides its envelope, as its post and the client's key say. */
export interface Rights {
  /** Whom it may send as; undefined: as the proxy's own rules say. */
  allowedSenders?: AllowedSenders | undefined;
  /** It asks that a sender who is not allowed be replaced. */
  fixSender?: boolean;
  /** App Engine's security ticket of the request that brought the post, for calls of App Engine's APIs. */
  ticket?: string | undefined;
}

/** A message for a backend: raw bytes and true envelope, the addresses already found to be valid. */
export interface Delivery extends Rights {
  id: string;
  sender: string;
  recipients: readonly string[];
  bytes: Buffer;
  /** The sender to take when the world refuses the message's own; undefined: none may be taken. */
  substitute?: string | undefined;
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
export class BackendUnavailable extends Error {
  /** When it is worth trying again; undefined: soon. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
