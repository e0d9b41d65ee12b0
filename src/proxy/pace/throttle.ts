import type { Clock } from '../../host/clock.ts';
import { limits } from '../../limits.ts';
import { BackendBusyError, type BackendThrottledError } from '../backends/backend.ts';
import type { ProxyJournal } from '../proxy-journal.ts';

/**
 * What the provider's own throttling comes to: a pause, as long as the provider asks, or doubling while nothing passes; and
 * a smaller share of --pace, which is halved by each pause and grows again by a sixteenth a minute. It is not remembered
 * over a restart: the provider says it again.
 */
export class Throttle {
  readonly #clock: Clock;
  readonly #journal: ProxyJournal;
  /** Monotonic. */
  #until = -Infinity;
  #text = '';
  /** Pauses since a message passed. */
  #pauses = 0;
  /** The share at that time: monotonic. */
  #share = { value: 1, at: 0 };
  /** When the journal may be told again: monotonic. */
  #tellAt = -Infinity;

  constructor(clock: Clock, journal: ProxyJournal) {
    this.#clock = clock;
    this.#journal = journal;
  }

  /** Throws BackendBusyError during a pause. */
  requireOpen(): void {
    const waitMs = this.#until - this.#clock.now();
    if (waitMs > 0) throw new BackendBusyError(this.#text, waitMs);
  }

  /** Of --pace and --pace-day, from 1/16 to 1. */
  share(): number {
    const { value, at } = this.#share;
    const minutes = (this.#clock.now() - at) / MINUTE_MS;
    return Math.min(1, value + minutes * limits.throttleShare);
  }

  /** Begins a pause, or prolongs the present one: deliveries that were under way together count once. */
  throttled({ message, retryAfterMs = 0 }: BackendThrottledError): BackendBusyError {
    const now = this.#clock.now();
    this.#text = message;
    if (now >= this.#until) {
      const usual = Math.min(limits.throttleFirstMs * 2 ** this.#pauses, limits.throttleMaxMs);
      this.#pauses += 1;
      this.#share = { value: Math.max(limits.throttleShare, this.share() / 2), at: now };
      this.#until = now + Math.max(usual, retryAfterMs);
    } else this.#until = Math.max(this.#until, now + retryAfterMs);
    if (now >= this.#tellAt) {
      this.#tellAt = Math.max(now + limits.faultRepeatMs, this.#until);
      this.#journal.throttled(message);
    }
    return new BackendBusyError(message, this.#until - now);
  }

  passed(): void {
    if (this.#clock.now() >= this.#until) this.#pauses = 0;
  }
}

const MINUTE_MS = 60_000;
