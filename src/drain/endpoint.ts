import { limits } from '../mail/limits.ts';
import { endpointBackoffMs } from './backoff.ts';

/**
 * The state of the one endpoint, which all messages share: up, with a limit of posts in flight that
 * grows with every post that passes; or down until a time, when a single probe may go. Times are
 * milliseconds of a monotonic clock, so that no clock step lengthens an outage.
 */
export class Endpoint {
  #downUntil: number | undefined;
  #failures = 0;
  #limit = 1;
  /** Counts the outages; posts begun before the last one do not take up the ramp after it. */
  #era = 0;
  #inFlight = 0;
  #postPassedAt = -Infinity;
  #told: { remedy: string; at: number } | undefined;

  /** When the probe may go; undefined while the endpoint is up. */
  get downUntil(): number | undefined {
    return this.#downUntil;
  }

  /** Failures in a row, posts and probes. */
  get failures(): number {
    return this.#failures;
  }

  /** How many posts may be begun: none while down, then a ramp that doubles with each round trip. */
  get room(): number {
    return this.#downUntil === undefined ? Math.max(0, this.#limit - this.#inFlight) : 0;
  }

  /** Counts a post as in flight until it ends; its trouble counts unless it was begun before an outage. */
  begin(): { end(): void; trouble: Endpoint['trouble'] } {
    const era = this.#era;
    this.#inFlight += 1;
    return {
      end: () => {
        if (era === this.#era) this.#inFlight -= 1;
      },
      trouble: (now, random, retryAfterMs) =>
        era === this.#era
          ? this.trouble(now, random, retryAfterMs)
          : this.#prolong(now, random, retryAfterMs),
    };
  }

  /** A post broke or was too slow: fewer at once, since they may be in each other's way. */
  narrow(): void {
    this.#limit = Math.max(1, Math.floor(this.#limit / 2));
  }

  /** A post with recipients was answered with verdicts. */
  postPassed(now: number): void {
    this.#postPassedAt = now;
    this.#failures = 0;
    this.#downUntil = undefined;
    this.#limit = Math.min(this.#limit + 1, limits.inFlight);
    this.#told = undefined;
  }

  /**
   * A probe was answered. That ends the waiting, but not the count of failures: a proxy whose relay is
   * down answers probes and refuses posts, and must not be asked every second.
   */
  probePassed(): void {
    this.#downUntil = undefined;
  }

  /** Whether a post passed after the given time. */
  passedSince(time: number): boolean {
    return this.#postPassedAt > time;
  }

  /**
   * A post or probe met trouble that is the endpoint's. Of the posts that were in flight together only
   * the first counts. Returns how long the endpoint is left alone from now, or undefined when this was
   * not the first.
   */
  trouble(now: number, random: number, retryAfterMs: number | undefined): number | undefined {
    if (this.#downUntil !== undefined && now < this.#downUntil) {
      return this.#prolong(now, random, retryAfterMs);
    }
    this.#failures += 1;
    this.#era += 1;
    this.#inFlight = 0;
    this.#limit = 1;
    const wait = endpointBackoffMs(this.#failures, random, retryAfterMs);
    this.#downUntil = now + wait;
    return wait;
  }

  /** More trouble of an outage that is known: only what the server asks for counts. */
  #prolong(now: number, random: number, retryAfterMs: number | undefined): undefined {
    if (this.#downUntil === undefined || retryAfterMs === undefined) return;
    const wait = endpointBackoffMs(this.#failures, random, retryAfterMs);
    this.#downUntil = Math.max(this.#downUntil, now + wait);
  }

  /** Whether the operator is to be told of a fault: at once, and then hourly until posts pass. */
  tellFault(remedy: string, now: number): boolean {
    const told = this.#told;
    if (told?.remedy === remedy && now - told.at < limits.faultRepeatMs) return false;
    this.#told = { remedy, at: now };
    return true;
  }
}
