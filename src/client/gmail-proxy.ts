import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../host/clock.ts';
import { newId } from '../host/new-id.ts';
import { statusClass } from '../mail/enhanced-status.ts';
import type { Envelope } from '../mail/envelope.ts';
import { limits } from '../limits.ts';
import type { PostResult, PostRequest, PostFailure } from '../wire/attempt.ts';
import type { Connection } from '../wire/connection.ts';
import { diagnose } from '../wire/diagnose.ts';
import { openConnections } from '../wire/open-connections.ts';
import { postTimeMs } from '../wire/post-time.ts';
import { postUntilSettled } from '../wire/post-until-settled.ts';
import { postOnceOver, postOnceToFirst, type PostOnce } from '../wire/post-once.ts';
import { probe } from '../wire/probe.ts';
import type { Verdict } from '../wire/verdicts.ts';
import { MessageSendingFailure, type NotSent } from './message-sending-failure.ts';
import { prepare } from './prepare.ts';

export { MessageSendingFailure, type NotSent } from './message-sending-failure.ts';
export type { Envelope };

export interface GmailProxyOptions {
  /** Let the proxy replace a sender that is not allowed by its default sender. */
  fixSender?: boolean | undefined;
  /** Return false instead of throwing MessageSendingFailure. */
  failSilently?: boolean | undefined;
  /** PEM file of further certificate authorities to trust. */
  caFile?: string | undefined;
  /** Allow http: to other machines, where anybody on the way can read the mail. */
  allowInsecure?: boolean | undefined;
  /** How long to wait for the proxy's verdicts, in milliseconds; else 5 minutes besides the upload. */
  timeoutMs?: number | undefined;
}

/** Sends mail through a proxy, at once and without a queue: the caller decides whether to try again. */
export class GmailProxy {
  readonly #connections: readonly Connection[];
  readonly #proxies: readonly PostOnce[];
  readonly #options: GmailProxyOptions;

  /**
   * The key and the URL are those of the settings GMAIL_SECRET_KEY and GMAIL_PROXY_URL when they are not
   * given. Of several URLs, with spaces between them, the first is used to which a connection can be made. Throws an
   * Error when there are none or they cannot be used.
   */
  constructor(
    secretKey?: string | Uint8Array,
    proxyUrl?: string | URL,
    options: GmailProxyOptions = {},
  ) {
    this.#connections = openConnections({ ...options, secretKey, proxyUrl });
    this.#proxies = this.#connections.map((connection) => postOnceOver(connection, 'v2'));
    this.#options = options;
  }

  /**
   * Sends a whole message (RFC 5322) and returns true when every recipient was sent. What the envelope
   * leaves out is taken from From, and from To, Cc and Bcc; a Bcc is not sent along. Throws
   * MessageSendingFailure, which names who was not sent and who was; with failSilently returns false. A
   * slow delivery is waited for until timeoutMs: then the failure names those that are still in progress.
   */
  async sendMail(message: string | Uint8Array, envelope: Partial<Envelope> = {}): Promise<boolean> {
    try {
      await this.#send(message, envelope);
      return true;
    } catch (error) {
      if (this.#options.failSilently && error instanceof MessageSendingFailure) return false;
      throw error;
    }
  }

  /**
   * Asks the proxy, by a post without recipients, whether it takes our mail: true, or throws
   * MessageSendingFailure.
   */
  async verify(): Promise<true> {
    const timeUp = AbortSignal.timeout(this.#timeoutMs(0));
    const answer = await postOnceToFirst(this.#proxies)(probe(systemClock), timeUp);
    if (answer.kind !== 'verdicts') throw new MessageSendingFailure([unknown('', answer)]);
    return true;
  }

  /** Closes the connections that are kept for the next message; they keep no process alive. */
  async close(): Promise<void> {
    await Promise.all(this.#connections.map(async (each) => each.close()));
  }

  async #send(message: string | Uint8Array, given: Partial<Envelope>): Promise<void> {
    const { fixSender = false } = this.#options;
    const { envelope, bytes } = prepare(message, given, fixSender);
    const post = {
      id: newId(systemClock),
      envelope,
      fixSender,
      bytes: [bytes],
      size: bytes.length,
    };
    const timeUp = AbortSignal.timeout(this.#timeoutMs(bytes.length));
    const postOnce = postOnceToFirst(this.#proxies);
    const once = async (part: PostRequest) => postWhenAllowed(postOnce, part, timeUp);
    const { verdicts, failure } = await postUntilSettled(post, once, systemClock, timeUp);

    const notSent: NotSent[] = verdicts.filter((verdict) => !isSent(verdict));
    if (failure) {
      const decided = new Set(verdicts.map(({ recipient }) => recipient));
      const undecided = envelope.recipients.filter((recipient) => !decided.has(recipient));
      notSent.push(...undecided.map((recipient) => unknown(recipient, failure)));
    }
    const sent = verdicts.filter(isSent).map(({ recipient }) => recipient);
    if (notSent.length > 0) throw new MessageSendingFailure(notSent, sent);
  }

  #timeoutMs(bytes: number): number {
    return this.#options.timeoutMs ?? limits.clientTimeoutMs + postTimeMs(bytes);
  }
}

/** Posts, and again when the proxy asked for fewer posts and the time that it named is over. */
async function postWhenAllowed(
  postOnce: PostOnce,
  post: PostRequest,
  timeUp: AbortSignal,
): Promise<PostResult> {
  for (;;) {
    const answer = await postOnce(post, timeUp);
    if (answer.kind !== 'slower') return answer;
    const askedMs = Math.min(answer.retryAfterMs ?? 0, limits.retryAfterMaxMs);
    const waitMs = Math.max(askedMs, limits.askEveryMs);
    await sleep(waitMs, undefined, { signal: timeUp }).catch(() => {});
    if (timeUp.aborted) return answer;
  }
}

function isSent({ status }: Verdict): boolean {
  return statusClass(status) === 'sent';
}

/** Only a verdict has a status: whatever else happened may pass. */
function unknown(recipient: string, answer: PostFailure) {
  if (answer.kind === 'aborted') return { recipient, status: undefined, reason: TIME_UP };
  const { text, remedy } = diagnose(answer);
  const reason = remedy === undefined ? text : `${text}; ${remedy}`;
  return { recipient, status: undefined, reason };
}

const TIME_UP = 'the proxy gave no verdict in time; it may still be sent';
