import { isUnreadable } from '../sqlite/is-corruption.ts';
import type { Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import { nextDueAt, capacityLeft, type Claimed, type Capacity } from '../spool/claim.ts';
import { readBody } from '../spool/body.ts';
import { endpointRecord, outageMs } from '../spool/endpoint.ts';
import { keepHouse } from '../spool/keep-house.ts';
import { takeSample } from '../spool/samples.ts';
import { oldestQueuedAt, queuedMessages, stats } from '../spool/stats.ts';
import { spoolFault, spoolTroubleStatus } from '../spool/with-spool.ts';
import { watchSpool } from '../spool/watch-spool.ts';
import { diagnose, type Diagnosis } from '../wire/diagnose.ts';
import type { QueueReport } from '../wire/frame.ts';
import type { PostOnce } from '../wire/post-once.ts';
import { Alarm } from './alarm.ts';
import type { Attempt } from './attempt.ts';
import { spoolBackoffMs } from './backoff.ts';
import { commitTurn } from './commit-turn.ts';
import { Courier } from './courier.ts';
import type { DrainOptions } from './drain-options.ts';
import { Endpoint, type PostInFlight } from './endpoint.ts';
import { logTurn } from './log-turn.ts';
import { planTurn, type EndpointEvent, type TurnFacts } from './plan-turn.ts';
import { SenderReports } from './reports/sender-reports.ts';
import { statusText } from './status-text.ts';
import { takeOver } from './take-over.ts';
import { watchDamage } from './watch-damage.ts';

/** How a drain ended. */
export type Ending = 'stopped' | 'empty' | 'unreachable';

/**
 * Drains the spool: claims what is due, posts it, and records the outcome. Runs until stopped, or with
 * `once` until nothing is due. Throws SqliteError when the spool cannot be worked on at the start, or is
 * damaged in more than the bytes of messages, DatabaseReplacedError when it is removed, and with `once` at any
 * trouble with it.
 */
export async function drain(options: DrainOptions): Promise<Ending> {
  const { spool, connection, journal, notify, stop, watch = watchSpool } = options;
  const recovered = takeOver(spool, options.retryTimes);
  journal.drainStarted(spool.folder, connection.url.href, {
    queued: queuedMessages(spool),
    recovered,
  });

  const loop = new DrainLoop(options);
  const wake = () => loop.alarm.wake();
  const unwatch = watch(spool, wake, (error) => {
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
    journal.drainStopped(spool.folder, queuedMessages(spool));
    return ending;
  } finally {
    stop.removeEventListener('abort', end);
    unwatch();
    await connection.close();
  }
}

class DrainLoop {
  readonly alarm: Alarm;
  readonly #clock: Clock;
  readonly #options: DrainOptions;
  readonly #endpoint = new Endpoint();
  readonly #giveUp = new AbortController();
  readonly #courier: Courier;
  readonly #reports: SenderReports;
  readonly #inFlight = new Map<number, Claimed>();
  /** Of these, what the proxy has and is asked for: it takes up no bytes, and nobody's place. */
  readonly #asked = new Set<number>();
  /** Attempts that ended and are not yet recorded, and what happened to the endpoint meanwhile. */
  #attempts: Attempt[] = [];
  #events: EndpointEvent[] = [];
  /** Met trouble of the endpoint since a post passed: others go first, in case it was theirs after all. */
  readonly #retryLast = new Set<number>();
  /** How many turns in a row the spool could not be worked on, why, and when the next may be: monotonic. */
  #spoolTrouble = { failures: 0, text: '', retryAt: 0 };
  /** When the next message is due, as the last turn found it; observed time. */
  #dueAt = 0;
  /** Something is due that is too large for the bytes left in flight: it waits for a delivery to end. */
  #tooLarge = false;
  #keepHouseAt = 0;
  #sampleAt = 0;
  /** What posts tell the proxy of the queue, and until when that is told; when a probe tells it at the latest: monotonic. */
  #queue: QueueReport | undefined;
  #queueUntil = -Infinity;
  #tellAt: number;
  /** When what is in flight is given up, once drain is stopped: monotonic. */
  #stopBy = Infinity;

  constructor(options: DrainOptions) {
    this.#options = options;
    const { postOnce, stop } = options;
    this.#clock = options.spool.clock;
    this.#tellAt = this.#clock.now() + limits.tellQueueMs;
    this.alarm = new Alarm(this.#clock);
    const signals = { stop, giveUp: this.#giveUp.signal };
    const telling: PostOnce = async (post, signal) => {
      this.#tellAt = this.#clock.now() + limits.tellQueueMs;
      return postOnce({ ...post, queue: this.#queue }, signal);
    };
    this.#courier = new Courier(telling, this.#endpoint, this.#clock, signals);
    const done = () => this.alarm.wake();
    this.#reports = new SenderReports(options, this.#giveUp.signal, done);
  }

  async run(): Promise<Ending> {
    for (;;) {
      this.#turn();
      const ending = this.#options.stop.aborted ? this.#endingOfStop() : this.#endingOfOnce();
      if (ending) return ending;
      await this.alarm.wait(Math.min(this.#sleepMs(), this.#stopBy - this.#clock.now()));
    }
  }

  /** Gives up what is still in flight when its time is over. */
  #endingOfStop(): Ending | undefined {
    this.#stopBy = Math.min(this.#stopBy, this.#clock.now() + limits.stopMs);
    if (this.#isIdle) return 'stopped';
    if (this.#clock.now() < this.#stopBy) return undefined;
    if (this.#inFlight.size === 0 && !this.#reports.submitting) return 'stopped';
    this.#giveUp.abort();
    return undefined;
  }

  #endingOfOnce(): Ending | undefined {
    if (!this.#options.once || !this.#isIdle) return undefined;
    if (this.#endpoint.downUntil !== undefined) return 'unreachable';
    const now = this.#options.spool.now();
    return this.#dueAt > now && this.#reports.wantedInMs(now) > 0 ? 'empty' : undefined;
  }

  get #isIdle(): boolean {
    return this.#inFlight.size === 0 && this.#attempts.length === 0 && !this.#reports.busy;
  }

  /** One round: records the attempts that ended, claims what is due in the same transaction, posts it. */
  #turn(): void {
    const { spool, journal, notify, once, stop, progress } = this.#options;
    const fault = () => `${spoolTroubleStatus}: ${this.#spoolTrouble.text}`;
    if (this.#clock.now() < this.#spoolTrouble.retryAt) return notify.working(fault);
    try {
      spool.files.requireInPlace();
      this.#endpoint.heedCalls(endpointRecord(spool).calls, this.#clock.now());
      this.#noteQueue();
      this.#recordAndClaim();
      this.#reports.turn(spool.now(), { begin: !stop.aborted });
      if (this.#probeInMs() <= 0) void this.#probe();
      // What comes of it does not matter: the next post finds out.
      if (this.#tellInMs() <= 0) void this.#courier.probe();
      this.#keepHouseWhenTime();
      this.#takeSampleWhenTime();
      progress?.(stats(spool).counters);
      notify.working(() => statusText(stats(spool), spool.now(), this.#clock.wallNow()));
      this.#dueAt = nextDueAt(spool) ?? Infinity;
      if (this.#spoolTrouble.failures > 0) journal.spoolUsable(spool.folder);
      this.#spoolTrouble.failures = 0;
    } catch (error) {
      if (once || isUnreadable(error)) throw error;
      this.#pauseForSpool(error);
      notify.working(fault);
    }
  }

  #recordAndClaim(): void {
    const { spool, journal, connection } = this.#options;
    const capacity = this.#capacity();
    const isNews = this.#attempts.length > 0 || this.#events.length > 0;
    if (capacity.messages === 0 && !isNews) return;

    const plan = planTurn(this.#facts(capacity), this.#options, () => this.#clock.random());
    const { claimed, queued } = commitTurn(spool, plan);
    this.#attempts = [];
    this.#events = [];
    this.#tooLarge = capacity.messages > 0 && claimed.length === 0;

    for (const message of claimed) void this.#work(message);
    logTurn(journal, plan, {
      wallNow: this.#clock.wallNow(),
      folder: spool.folder,
      url: connection.url.href,
      queued,
    });
  }

  /** How much may be claimed; no messages where none are due. */
  #capacity(): Capacity {
    const { spool } = this.#options;
    const isDue = (nextDueAt(spool) ?? Infinity) <= spool.now();
    const posted = [...this.#inFlight.values()].filter(({ seq }) => !this.#asked.has(seq));
    return { messages: isDue ? this.#postsLeft : 0, ...capacityLeft(posted) };
  }

  #facts(capacity: Capacity): TurnFacts {
    const { spool } = this.#options;
    const now = spool.now();
    const { downUntil } = this.#endpoint;
    return {
      now,
      attempts: this.#attempts,
      events: this.#events,
      endpoint: endpointRecord(spool),
      outageMs: outageMs(spool, now),
      askedInMs: downUntil === undefined ? undefined : downUntil - this.#clock.now(),
      queued: queuedMessages(spool),
      capacity,
      last: this.#retryLast,
    };
  }

  /** Nothing is sent until the spool can be written: a message that is sent and not recorded would be sent again. */
  #pauseForSpool(error: unknown): void {
    const { spool, journal } = this.#options;
    const failures = this.#spoolTrouble.failures + 1;
    const waitMs = spoolBackoffMs(failures);
    const text = spoolFault(error, spool.folder);
    this.#spoolTrouble = { failures, text, retryAt: this.#clock.now() + waitMs };
    journal.spoolTrouble(spool.folder, text, waitMs);
  }

  async #work(message: Claimed): Promise<void> {
    this.#inFlight.set(message.seq, message);
    const post = this.#endpoint.begin(this.#clock.now());
    let damage: string | undefined;
    const body = readBody(this.#options.spool, message.seq, message.size);
    const watched = watchDamage(body, (fault) => {
      damage = fault;
    });
    const attempt = await this.#deliver(message, watched, post);
    this.#inFlight.delete(message.seq);
    this.#asked.delete(message.seq);
    this.#attempts.push({ ...attempt, damage });
    if (attempt.passed) {
      this.#events.push({ kind: 'post-passed' });
      this.#retryLast.clear();
    }
    const { trouble } = attempt;
    if (trouble?.scope === 'pace') this.#slowDown(trouble.diagnosis, post);
    if (trouble?.scope === 'endpoint') {
      this.#retryLast.add(message.seq);
      this.#endpointTrouble(trouble.diagnosis, post);
    }
    post.end();
    this.alarm.wake();
  }

  /** Never rejects: whatever happens, the message gets an outcome and is not left as being sent. */
  async #deliver(message: Claimed, bytes: Iterable<Buffer>, post: PostInFlight): Promise<Attempt> {
    const inProgress = (recipients: readonly string[]) => {
      this.#options.journal.inProgress(message, message.attempts + 1, recipients);
      this.#events.push({ kind: 'post-passed' });
      if (this.#asked.size < limits.asked) this.#asked.add(message.seq);
      post.end();
      this.alarm.wake();
    };
    try {
      return await this.#courier.deliver(message, bytes, inProgress);
    } catch (error) {
      const diagnosis = diagnose({ kind: 'unreadable', text: messageOf(error) });
      return { message, verdicts: [], trouble: { scope: 'message', diagnosis } };
    }
  }

  #slowDown(diagnosis: Diagnosis, post: PostInFlight): void {
    const now = this.#clock.now();
    const limit = post.slowDown(now, diagnosis.retryAfterMs);
    if (limit === undefined) return this.#endpointTrouble(diagnosis, post);
    if (!this.#endpoint.shouldReportSlower(now)) return;
    const { journal, connection } = this.#options;
    journal.endpointSlower(connection.url.href, diagnosis.text, limit);
  }

  /** In how many milliseconds the endpoint is to be asked; Infinity where it is not. */
  #probeInMs(): number {
    const { stop, once } = this.#options;
    const { downUntil } = this.#endpoint;
    if (stop.aborted || once || this.#courier.probing) return Infinity;
    return downUntil === undefined ? Infinity : downUntil - this.#clock.now();
  }

  async #probe(): Promise<void> {
    const result = await this.#courier.probe();
    if (result.kind === 'verdicts' || result.kind === 'slower') {
      this.#endpoint.probePassed();
      this.#events.push({ kind: 'probe-passed' });
    } else if (result.kind !== 'aborted') {
      this.#endpointTrouble(diagnose(result), this.#endpoint);
    }
    this.alarm.wake();
  }

  /** In how many milliseconds a probe is to tell the proxy what waits here, because no post does. */
  #tellInMs(): number {
    const { stop, once } = this.#options;
    const isPosting = this.#inFlight.size > 0 || this.#courier.probing;
    const isQuiet = !isPosting && this.#endpoint.downUntil === undefined;
    return isQuiet && !stop.aborted && !once ? this.#tellAt - this.#clock.now() : Infinity;
  }

  /** Notes what posts tell the proxy of the queue. */
  #noteQueue(): void {
    const { spool } = this.#options;
    const now = this.#clock.now();
    if (now < this.#queueUntil) return;
    this.#queueUntil = now + limits.queueReportMs;
    const oldestAt = oldestQueuedAt(spool);
    const oldestMs = oldestAt === null ? undefined : spool.clock.wallNow() - oldestAt;
    const oldestSeconds =
      oldestMs === undefined ? undefined : Math.max(0, Math.floor(oldestMs / 1000));
    this.#queue = { length: queuedMessages(spool), oldestSeconds };
  }

  #endpointTrouble(diagnosis: Diagnosis, met: Pick<Endpoint, 'trouble'>): void {
    const now = this.#clock.now();
    const waitMs = met.trouble(now, this.#clock.random(), diagnosis.retryAfterMs);
    if (waitMs === undefined) return;
    const { remedy } = diagnosis;
    const isReported = remedy !== undefined && this.#endpoint.shouldReport(remedy, now);
    const { failures } = this.#endpoint;
    this.#events.push({ kind: 'failed', diagnosis, failures, waitMs, isReported });
  }

  #keepHouseWhenTime(): void {
    const now = this.#clock.now();
    if (now < this.#keepHouseAt) return;
    this.#keepHouseAt = now + limits.housekeepingMs; // Where it fails, as on damage, mail goes on till then.
    const more = keepHouse(this.#options.spool, this.#options.spool.now());
    if (more) this.#keepHouseAt = now + limits.housekeepingStepMs;
  }

  /** An idle drain writes nothing, and is not woken for it: what happened last is in the sample of its next look. */
  #takeSampleWhenTime(): void {
    const now = this.#clock.now();
    if (now < this.#sampleAt) return;
    this.#sampleAt = now + limits.sampleMs;
    const { spool, connection } = this.#options;
    const { certificateExpiresAt: value } = connection.pool;
    const label = connection.url.host;
    const present = value === undefined ? [] : [{ name: 'certificate_expires', label, value }];
    takeSample(spool, spool.now(), present);
  }

  get #places(): number {
    return limits.inFlight - (this.#inFlight.size - this.#asked.size);
  }

  /** How many posts may be begun. */
  get #postsLeft(): number {
    if (this.#options.stop.aborted) return 0;
    return Math.min(this.#endpoint.capacity(this.#clock.now()), this.#places);
  }

  #sleepMs(): number {
    const { spool } = this.#options;
    const now = this.#clock.now();
    const notify = this.#options.notify.wantedInMs();
    const { retryAt } = this.#spoolTrouble;
    if (now < retryAt) return Math.min(retryAt - now, notify);
    // While all places are taken, due messages wait for a delivery to end, which wakes the loop.
    const isFull = this.#options.stop.aborted || this.#places <= 0;
    const claims = !isFull && !this.#tooLarge;
    const housekeeping = this.#keepHouseAt - now;
    return Math.min(
      limits.lookMs,
      this.#probeInMs(),
      this.#tellInMs(),
      housekeeping,
      notify,
      this.#reports.wantedInMs(spool.now()),
      claims ? Math.max(this.#dueAt - spool.now(), this.#endpoint.capacityInMs(now)) : Infinity,
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
