import { isUnusable } from '../sqlite/is-corruption.ts';
import { limits } from '../limits.ts';
import { claim, nextDueAt, roomLeft, type Claimed } from '../spool/claim.ts';
import { readBody, requireSoundTree } from '../spool/body.ts';
import { endpointRecord, outageMs, recordDown, recordPassed } from '../spool/endpoint.ts';
import { keepHouse } from '../spool/keep-house.ts';
import { record } from '../spool/record.ts';
import { setAside } from '../spool/set-aside.ts';
import type { Spool } from '../spool/spool.ts';
import { stats } from '../spool/stats.ts';
import { spoolFault, spoolTroubleStatus } from '../spool/with-spool.ts';
import { watchSpool } from '../spool/watch-spool.ts';
import { diagnose, type Diagnosis } from '../wire/diagnose.ts';
import { Alarm } from './alarm.ts';
import { spoolBackoffMs } from './backoff.ts';
import { announce } from './announce.ts';
import { announceDown, type EndpointFailure } from './announce-down.ts';
import { Courier, type Delivery } from './courier.ts';
import type { DrainOptions } from './drain-options.ts';
import { Endpoint, type PostInFlight } from './endpoint.ts';
import { SenderReports } from './reports/sender-reports.ts';
import { holdOf, decideOutcome } from './outcome.ts';
import { statusText } from './status-text.ts';
import { takeOver } from './take-over.ts';
import { watchDamage } from './watch-damage.ts';

/** How a drain ended. */
export type Ending = 'stopped' | 'empty' | 'unreachable';

/**
 * Drains the spool: claims what is due, posts it, records what came of it. Runs until stopped, or with
 * `once` until nothing is due. Throws SqliteError when the spool cannot be worked on at the start, or is
 * damaged in more than the bytes of messages, DatabaseReplacedError when it is removed, and with `once` at any
 * trouble with it.
 */
export async function drain(options: DrainOptions): Promise<Ending> {
  const { spool, connection, journal, notify, stop } = options;
  const recovered = takeOver(spool, options.retryTimes);
  journal.drainStarted(spool.folder, connection.url.href, { queued: queued(spool), recovered });

  const loop = new DrainLoop(options);
  const wake = () => loop.alarm.wake();
  const unwatch = watchSpool(spool, wake, (error) => {
    journal.spoolUnwatched(spool.folder, error.message, limits.lookMs);
  });
  const end = () => {
    notify.stopping();
    connection.end();
    wake();
  };
  stop.addEventListener('abort', end);
  try {
    const ending = await loop.run();
    journal.drainStopped(spool.folder, queued(spool));
    return ending;
  } finally {
    stop.removeEventListener('abort', end);
    unwatch();
    await connection.close();
  }
}

/** A delivery that is over and not yet recorded. */
interface Finished {
  message: Claimed;
  delivery: Delivery;
  /** What is wrong with its bytes in the spool. */
  damage: string | undefined;
}

/** What happened to the endpoint, to be recorded and told. */
type News = 'post passed' | 'probe passed' | EndpointFailure;

class DrainLoop {
  readonly alarm = new Alarm();
  readonly #options: DrainOptions;
  readonly #endpoint = new Endpoint();
  readonly #giveUp = new AbortController();
  readonly #courier: Courier;
  readonly #reports: SenderReports;
  readonly #inFlight = new Map<number, Claimed>();
  /** Of these, what the proxy has and is asked for: it takes up no bytes, and nobody's place. */
  readonly #asked = new Set<number>();
  #finished: Finished[] = [];
  /** Met trouble of the endpoint since a post passed: others go first, in case it was theirs after all. */
  readonly #suspects = new Set<number>();
  #news: News[] = [];
  /** Turns in a row in which the spool could not be worked on, why, and when the next may be: monotonic. */
  #spoolFailures = 0;
  #spoolFault = '';
  #spoolRetryAt = 0;
  /** When the next message is due, as the last turn found it; observed time. */
  #dueAt = 0;
  /** Something is due that is too large for the bytes left in flight: it waits for a delivery to end. */
  #tooLarge = false;
  #keepHouseAt = 0;
  /** When it may be told again that the proxy asks for fewer posts: monotonic. */
  #slowerTellAt = -Infinity;
  /** When the proxy first asked for fewer posts since one passed: monotonic. */
  #slowSince: number | undefined;

  constructor(options: DrainOptions) {
    this.#options = options;
    const { post, stop } = options;
    this.#courier = new Courier(post, this.#endpoint, stop, this.#giveUp.signal);
    const done = () => this.alarm.wake();
    this.#reports = new SenderReports(options, this.#giveUp.signal, done);
  }

  async run(): Promise<Ending> {
    const { stop, once } = this.#options;
    let stopBy = Infinity;
    for (;;) {
      this.#turn();
      const idle = this.#inFlight.size === 0 && this.#finished.length === 0 && !this.#reports.busy;
      if (stop.aborted) {
        stopBy = Math.min(stopBy, performance.now() + limits.stopMs);
        const late = performance.now() >= stopBy;
        const inFlight = this.#inFlight.size > 0 || this.#reports.submitting;
        if (idle || (late && !inFlight)) return 'stopped';
        if (late) this.#giveUp.abort();
      } else if (once && idle) {
        if (this.#endpoint.downUntil !== undefined) return 'unreachable';
        const now = this.#options.spool.now();
        if (this.#dueAt > now && this.#reports.wantedInMs(now) > 0) return 'empty';
      }
      await this.alarm.wait(Math.min(this.#sleepMs(), stopBy - performance.now()));
    }
  }

  /** One round: record what is finished, claim what is due in the same transaction, post it. */
  #turn(): void {
    const { spool, journal, notify, once, stop, progress } = this.#options;
    const fault = () => `${spoolTroubleStatus}: ${this.#spoolFault}`;
    if (performance.now() < this.#spoolRetryAt) return notify.working(fault);
    try {
      spool.files.requireInPlace();
      this.#endpoint.heedCalls(endpointRecord(spool).calls, performance.now());
      this.#recordAndClaim();
      this.#reports.turn(spool.now(), { begin: !stop.aborted });
      if (this.#probeInMs() <= 0) void this.#probe();
      this.#keepHouseWhenTime();
      progress?.(stats(spool).counters);
      notify.working(() => statusText(stats(spool), spool.now(), Date.now()));
      this.#dueAt = nextDueAt(spool) ?? Infinity;
      if (this.#spoolFailures > 0) journal.spoolUsable(spool.folder);
      this.#spoolFailures = 0;
    } catch (error) {
      if (once || isUnusable(error)) throw error;
      // What was sent and cannot be recorded would be sent again: nothing is sent until it can be.
      this.#spoolFailures += 1;
      const waitMs = spoolBackoffMs(this.#spoolFailures);
      this.#spoolRetryAt = performance.now() + waitMs;
      this.#spoolFault = spoolFault(error, spool.folder);
      journal.spoolTrouble(spool.folder, this.#spoolFault, waitMs);
      notify.working(fault);
    }
  }

  #recordAndClaim(): void {
    const { spool, journal, connection, delayWarningsMs, retryTimes } = this.#options;
    const now = spool.now();
    const finished = this.#finished;
    const news = this.#news;
    const isDue = (nextDueAt(spool) ?? Infinity) <= now;
    const messages = isDue ? this.#room() : 0;
    if (messages === 0 && finished.length === 0 && news.length === 0) return;

    const before = endpointRecord(spool);
    const { downUntil } = this.#endpoint;
    const outage = outageMs(spool, now);
    const outcomes = finished.map(({ message, delivery, damage }) => {
      const random = Math.random();
      const circumstances = { now, outageMs: outage, random, delayWarningsMs, retryTimes };
      return {
        message,
        delivery,
        damage,
        outcome: decideOutcome(message, delivery, circumstances),
      };
    });
    const latest = news.at(-1);
    // While posts may still be refused, the outage is over only when one passes.
    const passed = latest === 'post passed' || (latest === 'probe passed' && queued(spool) === 0);
    const claimed = spool.transaction(() => {
      if (passed) recordPassed(spool, now);
      else if (downUntil !== undefined) {
        // A post that was in flight with the one that found it down may have made the wait longer.
        const reason = typeof latest === 'object' ? latest.meaning.text : undefined;
        recordDown(spool, reason, now, now + Math.round(downUntil - performance.now()));
      }
      for (const { message, delivery, outcome, damage } of outcomes) {
        record(spool, outcome, now);
        const hold = holdOf(delivery, damage);
        if (damage !== undefined) requireSoundTree(spool, message.seq);
        if (hold) setAside(spool, message.seq, hold);
      }
      const posted = [...this.#inFlight.values()].filter(({ seq }) => !this.#asked.has(seq));
      return claim(spool, { messages, ...roomLeft(posted) }, now, this.#suspects);
    });
    this.#finished = [];
    this.#news = [];
    this.#tooLarge = messages > 0 && claimed.length === 0;

    for (const message of claimed) void this.#work(message);
    for (const { message, delivery, outcome, damage } of outcomes) {
      announce(journal, message, delivery, outcome, now, downUntil);
      if (damage !== undefined) journal.messageDamaged(message, damage);
    }
    const told = { url: connection.url.href, queued: queued(spool) };
    for (const each of news) {
      if (typeof each !== 'object') continue;
      announceDown(journal, this.#endpoint, each, {
        ...told,
        everPassed: before.passedAt !== null,
      });
    }
    if (passed && before.downSince !== null) {
      journal.endpointUp(told.url, now - before.downSince, told.queued);
    }
  }

  async #work(message: Claimed): Promise<void> {
    this.#inFlight.set(message.seq, message);
    const post = this.#endpoint.begin(performance.now());
    let damage: string | undefined;
    const body = readBody(this.#options.spool, message.seq, message.size);
    const watched = watchDamage(body, (fault) => {
      damage = fault;
    });
    const delivery = await this.#deliver(message, watched, post);
    this.#inFlight.delete(message.seq);
    this.#asked.delete(message.seq);
    this.#finished.push({ message, delivery, damage });
    if (delivery.passed) {
      this.#news.push('post passed');
      this.#suspects.clear();
    }
    if (delivery.trouble?.of === 'pace') this.#slowDown(delivery.trouble.meaning, post);
    if (delivery.trouble?.of === 'endpoint') {
      this.#suspects.add(message.seq);
      this.#endpointTrouble(delivery.trouble.meaning, post);
    }
    post.end();
    this.alarm.wake();
  }

  /** Never rejects: whatever happens, the message gets an outcome and is not left as being sent. */
  async #deliver(message: Claimed, bytes: Iterable<Buffer>, post: PostInFlight): Promise<Delivery> {
    const inProgress = (recipients: readonly string[]) => {
      this.#options.journal.inProgress(message, message.attempts + 1, recipients);
      this.#news.push('post passed');
      if (this.#asked.size < limits.asked) this.#asked.add(message.seq);
      post.end();
      this.alarm.wake();
    };
    try {
      return await this.#courier.deliver(message, bytes, inProgress);
    } catch (error) {
      const meaning = diagnose({ kind: 'unreadable', text: messageOf(error) });
      return { verdicts: [], trouble: { of: 'message', meaning } };
    }
  }

  /** A proxy that lets nothing pass for an hour is down, in whatever words: then an operator is told, and outages count. */
  #slowDown(meaning: Diagnosis, post: PostInFlight): void {
    const { text, retryAfterMs } = meaning;
    const now = performance.now();
    if (this.#endpoint.passedSince(this.#slowSince ?? Infinity)) this.#slowSince = undefined;
    this.#slowSince ??= now;
    if (now - this.#slowSince > limits.slowerMaxMs) {
      this.#endpointTrouble(meaning, post);
      return;
    }
    const limit = post.slowDown(now, retryAfterMs);
    if (now < this.#slowerTellAt) return;
    this.#slowerTellAt = now + limits.slowerRepeatMs;
    const { journal, connection } = this.#options;
    journal.endpointSlower(connection.url.href, text, limit);
  }

  /** In how many milliseconds the endpoint is to be asked; Infinity where it is not. */
  #probeInMs(): number {
    const { stop, once } = this.#options;
    const { downUntil } = this.#endpoint;
    if (stop.aborted || once || this.#courier.probing) return Infinity;
    return downUntil === undefined ? Infinity : downUntil - performance.now();
  }

  async #probe(): Promise<void> {
    const answer = await this.#courier.probe();
    if (answer.kind === 'verdicts' || answer.kind === 'slower') {
      this.#endpoint.probePassed();
      this.#news.push('probe passed');
    } else if (answer.kind !== 'aborted') {
      this.#endpointTrouble(diagnose(answer), this.#endpoint);
    }
    this.alarm.wake();
  }

  #endpointTrouble(meaning: Diagnosis, met: Pick<Endpoint, 'trouble'>): void {
    const waitMs = met.trouble(performance.now(), Math.random(), meaning.retryAfterMs);
    if (waitMs === undefined) return;
    this.#news.push({ meaning, failures: this.#endpoint.failures, waitMs });
  }

  #keepHouseWhenTime(): void {
    const now = performance.now();
    if (now < this.#keepHouseAt) return;
    this.#keepHouseAt = now + limits.housekeepingMs; // Where it fails, as on damage, mail goes on till then.
    const more = keepHouse(this.#options.spool, this.#options.spool.now());
    if (more) this.#keepHouseAt = now + limits.housekeepingStepMs;
  }

  get #places(): number {
    return limits.inFlight - (this.#inFlight.size - this.#asked.size);
  }

  #room(): number {
    if (this.#options.stop.aborted) return 0;
    return Math.min(this.#endpoint.room(performance.now()), this.#places);
  }

  #sleepMs(): number {
    const { spool } = this.#options;
    const now = performance.now();
    const notify = this.#options.notify.wantedInMs();
    if (now < this.#spoolRetryAt) return Math.min(this.#spoolRetryAt - now, notify);
    // Without room in flight, what is due waits for a delivery to end, which wakes the loop.
    const isFull = this.#options.stop.aborted || this.#places <= 0;
    const claims = !isFull && !this.#tooLarge;
    const housekeeping = this.#keepHouseAt - now;
    return Math.min(
      limits.lookMs,
      this.#probeInMs(),
      housekeeping,
      notify,
      this.#reports.wantedInMs(spool.now()),
      claims ? Math.max(this.#dueAt - spool.now(), this.#endpoint.roomInMs(now)) : Infinity,
    );
  }
}

function queued(spool: Spool): number {
  const { counters } = stats(spool);
  return counters.queued + counters.sending;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
