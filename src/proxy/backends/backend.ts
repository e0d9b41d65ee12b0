import { Places } from '../../host/places.ts';
import type { Verdict } from '../../wire/verdicts.ts';
import type { AllowedSenders } from '../policy/allowed-senders.ts';
import type { PostedMessage } from '../ledger/message-name.ts';

/** What a message may be sent with besides its envelope, as its post and the client's key say. */
export interface SendOptions {
  /** Whom it may send as; undefined: as the proxy's own rules say. */
  allowedSenders?: AllowedSenders | undefined;
  /** It asks that a sender who is not allowed be replaced. */
  fixSender?: boolean;
  /** Counts the memory of the post as held until what it returns is called. */
  hold?: () => () => void;
  /** App Engine's security ticket of the request that brought the post, for calls of App Engine's APIs. */
  ticket?: string | undefined;
}

/** A message for a backend: raw bytes and true envelope, the addresses already found to be valid. */
export interface Delivery extends PostedMessage, SendOptions {
  sender: string;
  recipients: readonly string[];
  bytes: Buffer;
  /** The sender to take when the world refuses the message's own; undefined: none may be taken. */
  substitute?: string | undefined;
}

/** What a backend says of one recipient; `unknown` when it may have been sent or not. */
export type Result =
  Omit<Verdict, 'inProgress' | 'sentBefore'> | { recipient: string; unknown: string };

/**
 * Sends a message on and says what became of each recipient, however long the world takes, within the time
 * limits of its protocol. Throwing BackendUnavailableError means that nothing was sent and that the trouble
 * is not this message's; anything else thrown means that nobody knows.
 */
export type Deliver = (delivery: Delivery) => Promise<Result[]>;

/** Room for one delivery: it is used by one call of `deliver`, or given back by `release`. */
export interface Place {
  deliver: Deliver;
  release(): void;
}

/** A way to send mail on. */
export interface Backend {
  /**
   * Waits until a delivery can begin at once, such as for a connection. Rejects with BackendBusyError when
   * that was not so before `giveUp`, and with BackendUnavailableError when it cannot be.
   */
  reserve(giveUp: AbortSignal): Promise<Place>;
}

/** A backend that can always begin. */
export function unlimited(deliver: Deliver): Backend {
  return { reserve: () => Promise.resolve({ deliver, release() {} }) };
}

/** A backend that works at `count` deliveries at once. */
export function limited(count: number, deliver: Deliver): Backend {
  const places = new Places(count);
  return {
    async reserve(giveUp) {
      await places.enter(giveUp).catch((error: Error) => {
        throw new BackendBusyError(error.message);
      });
      return {
        deliver: async (delivery) => deliver(delivery).finally(() => places.leave()),
        release: () => places.leave(),
      };
    },
  };
}

/** The backend works, and has no room for this delivery yet; nothing was begun. */
export class BackendBusyError extends Error {
  override readonly name = 'BackendBusyError';
}

/** Nothing can be sent on at present, whatever the message; nothing of this one was sent. */
export class BackendUnavailableError extends Error {
  override readonly name = 'BackendUnavailableError';
  /** When it is worth trying again; undefined: soon. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
