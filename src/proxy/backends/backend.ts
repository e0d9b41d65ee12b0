import type { IncomingHttpHeaders } from 'node:http';
import { Places } from '../../host/net/places.ts';
import type { TimeLimit } from '../../host/within-time.ts';
import type { Verdict } from '../../wire/verdicts.ts';
import type { AllowedSenders } from '../policy/allowed-senders.ts';
import type { PostedMessage } from '../ledger/message-name.ts';

/** What a post and the key of its client say of a message, besides the envelope. */
export interface SendOptions {
  /** The senders that the key may use; undefined: as the proxy's own rules say. */
  allowedSenders?: AllowedSenders | undefined;
  /** The post asks that a sender who is not allowed be replaced. */
  fixSender?: boolean;
  /** Counts the memory of the post as held until what it returns is called. */
  hold?: () => () => void;
}

/** A message for a backend: raw bytes and true envelope, the addresses already found to be valid. */
export interface Delivery extends PostedMessage, SendOptions {
  sender: string;
  recipients: readonly string[];
  bytes: Buffer;
  /** The sender to use when the message's own is refused; undefined: no other may be used. */
  fallbackSender?: string | undefined;
}

/** What a backend says of one recipient; `unknown` says why nobody can know whether it was sent. */
export type Result =
  Omit<Verdict, 'inProgress' | 'sentBefore'> | { recipient: string; unknown: string };

/**
 * Sends a message on and says what became of each recipient, however long that takes within the time limits of
 * its protocol. BackendUnavailableError means that nothing was sent and that the message is not the cause; any
 * other error means that nobody can know what was sent.
 */
export type Deliver = (delivery: Delivery) => Promise<Result[]>;

/** A place for one delivery: one call of `deliver` uses it, or `release` gives it back. */
export interface Place {
  deliver: Deliver;
  release(): void;
}

/** Until when somebody waits; its signal is made when it is asked for. */
export type GiveUp = Pick<TimeLimit, 'signal'>;

/** A way to send mail on. */
export interface Backend {
  /**
   * Waits until a delivery can begin at once, for example for a connection. Rejects with BackendBusyError when
   * `giveUp` is reached before that, and with BackendUnavailableError when the backend cannot work.
   */
  reserve(giveUp: GiveUp): Promise<Place>;
  /**
   * Runs `answer`, which answers a request with these headers, so that the deliveries that it begins can use what
   * the headers say. Only for a backend that needs something of the request itself.
   */
  withinRequest?: <T>(headers: IncomingHttpHeaders, answer: () => Promise<T>) => Promise<T>;
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
      await places.enter(giveUp.signal).catch((error: Error) => {
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
  /** When it is worth trying again; undefined: soon. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Nothing can be sent on at present, whatever the message; nothing of this one was sent. */
export class BackendUnavailableError extends Error {
  override readonly name: string = 'BackendUnavailableError';
  /** When it is worth trying again; undefined: soon. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The provider works, and takes no more for now, since it got too much in a short time; nothing of this message was sent. */
export class BackendThrottledError extends BackendUnavailableError {
  override readonly name = 'BackendThrottledError';
}
