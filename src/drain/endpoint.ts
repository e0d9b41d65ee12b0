import { limits } from '../limits.ts';
import { endpointBackoffMs } from './backoff.ts';
import { afterPost, oneAtOnce, type Concurrency } from './concurrency.ts';

/** A post that counts as in flight until it ends. */
export interface PostInFlight {
  /** Call it once more, and it does nothing. */
  end(): void;
  /** The post met trouble of the endpoint; it counts unless the post began before an outage. */
  trouble: Endpoint['trouble'];
  /**
   * The proxy asked for fewer posts. Returns how many there may be now; undefined when it has let nothing pass
   * for limits.slowerMaxMs: that is an outage, in whatever words.
   */
  slowDown(now: number, retryAfterMs: number | undefined): number | undefined;
}

/**
 * The state of an endpoint, which all messages share: up, with a limit of posts in flight that
 * adapts to their round trips (concurrency.ts), and is halved when the proxy asks for fewer; or down until a time, when
 * a single probe may go. Times are milliseconds of a monotonic clock, so that no clock step lengthens an outage.
 */
export class Endpoint {
  #downUntil: number | undefined;
  #failures = 0;
  #concurrency: Concurrency = oneAtOnce;
  /** Whether the proxy asked for fewer posts: until then a slow post holds up no other. */
  #paced = false;
  #pausedUntil = -Infinity;
  #slowedAt = -Infinity;
  /** When the proxy first asked for fewer posts since one passed, and until when it has named a wait (limits.quotaWaitMs). */
  #slowSince: number | undefined;
  #quotaUntil = -Infinity;
  #slowReportAt = -Infinity;
  /** It has to answer a probe before it is used, and has not been asked yet. */
  #untried = false;
  /** Incremented at each outage; posts that began earlier do not count against the new limit. */
  #generation = 0;
  readonly #inFlight = new Set<{ startedAt: number }>();
  #postPassedAt = -Infinity;
  /** The number of calls at the last look. Calls from before this drain started do not count. */
  #calls: number | undefined;
  #reported: { remedy: string; at: number } | undefined;

  /** When the probe may go; undefined while the endpoint is up. */
  get downUntil(): number | undefined {
    return this.#downUntil;
  }

  /** Whether a probe has to find out first whether it answers. */
  get isUntried(): boolean {
    return this.#untried;
  }

  /** Failures in a row, posts and probes. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * How many posts may be begun: none while down, then a limit that adapts. Before the proxy has asked for fewer
   * posts, one that takes longer than limits.slowPostMs does not count while there are fewer than limits.inFlightSlow.
   */
  capacity(now: number): number {
    if (this.#downUntil !== undefined || now < this.#pausedUntil) return 0;
    return Math.max(0, Math.min(this.#limit - this.#counted(now).length, this.#placesLeft));
  }

  /** In how many milliseconds a post may be begun although none ends before; Infinity when never. */
  capacityInMs(now: number): number {
    if (this.#downUntil !== undefined) return Infinity;
    const counted = this.#counted(now);
    const pause = Math.max(0, this.#pausedUntil - now);
    if (counted.length < this.#limit && this.#placesLeft > 0) return pause;
    if (this.#paced || this.#placesLeft <= 0) return Infinity;
    const first = Math.min(...counted.map(({ startedAt }) => startedAt));
    return Math.max(pause, first + limits.slowPostMs - now);
  }

  /** Counts a post as in flight until it ends. */
  begin(now: number): PostInFlight {
    const generation = this.#generation;
    const post = { startedAt: now };
    this.#inFlight.add(post);
    return {
      end: () => this.#inFlight.delete(post),
      trouble: (at, random, retryAfterMs) =>
        generation === this.#generation
          ? this.trouble(at, random, retryAfterMs)
          : this.#prolong(at, random, retryAfterMs),
      slowDown: (at, retryAfterMs) => this.#slowDown(post.startedAt, at, retryAfterMs),
    };
  }

  /** Nothing is posted to it before it has answered a probe, which may go at once unless it is left alone for longer. */
  askFirst(now: number): void {
    if (this.#downUntil !== undefined && this.#downUntil > now) return;
    this.#downUntil = now;
    this.#untried = true;
    this.#concurrency = oneAtOnce;
  }

  /** A post broke or was too slow: fewer at once, since they may be in each other's way. One is always allowed. */
  halveConcurrency(): void {
    this.#limitTo(Math.max(1, Math.floor(this.#limit / 2)));
  }

  /** A post with recipients was answered with verdicts; `tookMs`: its round trip. */
  postPassed(now: number, tookMs: number): void {
    const post = { beganAt: now - tookMs, now, inFlight: this.#inFlight.size };
    this.#concurrency = afterPost(this.#concurrency, post);
    this.#postPassedAt = now;
    this.#failures = 0;
    this.#downUntil = undefined;
    this.#untried = false;
    this.#slowSince = undefined;
    this.#quotaUntil = -Infinity;
    this.#reported = undefined;
  }

  /**
   * A probe was answered. That ends the waiting, but not the count of failures: a proxy whose relay is
   * down answers probes and refuses posts, and must not be asked every second.
   */
  probePassed(): void {
    this.#downUntil = undefined;
    this.#untried = false;
  }

  /**
   * An operator who wants the endpoint asked now adds one to the calls. That ends the wait for the next probe, and
   * the wait that the proxy asked for.
   */
  heedCalls(calls: number, now: number): void {
    if (this.#calls !== undefined && calls !== this.#calls) {
      this.#pausedUntil = -Infinity;
      if (this.#downUntil !== undefined) this.#downUntil = Math.min(this.#downUntil, now);
    }
    this.#calls = calls;
  }

  /** Whether a post passed after the given time. */
  passedSince(time: number): boolean {
    return this.#postPassedAt > time;
  }

  /**
   * A post or probe met trouble of the endpoint. Of the posts that were in flight together only the
   * first counts. Returns how long the endpoint is left alone from now; undefined when this was not the
   * first.
   */
  trouble(now: number, random: number, retryAfterMs: number | undefined): number | undefined {
    if (this.#downUntil !== undefined && now < this.#downUntil) {
      return this.#prolong(now, random, retryAfterMs);
    }
    this.#failures += 1;
    this.#untried = false;
    this.#generation += 1;
    this.#inFlight.clear();
    this.#concurrency = oneAtOnce;
    this.#paced = false;
    this.#pausedUntil = -Infinity;
    const wait = endpointBackoffMs(this.#failures, random, retryAfterMs);
    this.#downUntil = now + wait;
    return wait;
  }

  /** Of the posts that began before the limit was halved, none halves it again. */
  #slowDown(startedAt: number, now: number, retryAfterMs = 0): number | undefined {
    this.#slowSince ??= now;
    if (retryAfterMs >= limits.quotaWaitMs) this.#quotaUntil = now + retryAfterMs;
    // Quotas are of a day at most.
    const patientUntil = Math.min(this.#quotaUntil, this.#slowSince + limits.quotaMaxMs);
    if (now - Math.max(this.#slowSince, patientUntil) > limits.slowerMaxMs) return undefined;
    const waitMs = Math.min(retryAfterMs, limits.retryAfterMaxMs);
    this.#pausedUntil = Math.max(this.#pausedUntil, now + waitMs);
    if (startedAt >= this.#slowedAt) {
      this.#slowedAt = now;
      this.#paced = true;
      // Not one: a single slow post would hold up all others.
      this.#limitTo(Math.max(2, Math.floor(this.#inFlight.size / 2)));
    }
    return this.#limit;
  }

  get #limit(): number {
    return Math.floor(this.#concurrency.limit);
  }

  /** From here on each post that passes adds one again. This ends a measurement, after which the old limit would hold again. */
  #limitTo(limit: number): void {
    this.#concurrency = { ...this.#concurrency, limit, isRising: true, limitAfter: undefined };
  }

  get #placesLeft(): number {
    return Math.max(this.#limit, limits.inFlightSlow) - this.#inFlight.size;
  }

  #counted(now: number): { startedAt: number }[] {
    const posts = [...this.#inFlight];
    if (this.#paced) return posts;
    return posts.filter(({ startedAt }) => now - startedAt < limits.slowPostMs);
  }

  /** More trouble of an outage that is known: only what the server asks for counts. */
  #prolong(now: number, random: number, retryAfterMs: number | undefined): undefined {
    if (this.#downUntil === undefined || retryAfterMs === undefined) return;
    const wait = endpointBackoffMs(this.#failures, random, retryAfterMs);
    this.#downUntil = Math.max(this.#downUntil, now + wait);
  }

  /** Whether the operator has to hear about a fault: at once, and then hourly until posts pass. */
  shouldReport(remedy: string, now: number): boolean {
    const last = this.#reported;
    if (last?.remedy === remedy && now - last.at < limits.faultRepeatMs) return false;
    this.#reported = { remedy, at: now };
    return true;
  }

  /**
   * Whether the journal has to say that the proxy asks for fewer posts: at once, and then not all the time, nor again
   * before the wait is over that the proxy has named.
   */
  shouldReportSlower(now: number): boolean {
    if (now < this.#slowReportAt) return false;
    this.#slowReportAt = Math.max(now + limits.slowerRepeatMs, this.#quotaUntil);
    return true;
  }
}
