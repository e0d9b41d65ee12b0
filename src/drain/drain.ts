import { isUnreadable } from '../sqlite/is-corruption.ts';
import type { Clock } from '../host/clock.ts';
import { limits } from '../limits.ts';
import { nextDueAt, capacityLeft, type Claimed, type Capacity } from '../spool/claim.ts';
import { readBody } from '../spool/body.ts';
import { endpointRecord, outageMs } from '../spool/endpoint.ts';
import { keepHouse } from '../spool/keep-house.ts';
import { giveUpProxies, ledgerOf, type PostedTo } from '../spool/posted-to.ts';
import { keepLabels } from '../spool/figures.ts';
import { takeSample } from '../spool/samples.ts';
import { oldestQueuedAt, queuedMessages, stats } from '../spool/stats.ts';
import { spoolFault, spoolTroubleStatus } from '../spool/with-spool.ts';
import { watchSpool } from '../spool/watch-spool.ts';
import { diagnose, type Diagnosis } from '../wire/diagnose.ts';
import type { QueueReport } from '../wire/frame.ts';
import type { PostRequest } from '../wire/attempt.ts';
import { Alarm } from './alarm.ts';
import type { Attempt } from './attempt.ts';
import { spoolBackoffMs } from './backoff.ts';
import { commitTurn } from './commit-turn.ts';
import { Courier } from './courier.ts';
import type { DrainOptions, ProxyAccess } from './drain-options.ts';
import { Endpoint, type PostInFlight } from './endpoint.ts';
import { logTurn } from './log-turn.ts';
import { planTurn, type EndpointEvent, type TurnFacts } from './plan-turn.ts';
import { SenderReports } from './reports/sender-reports.ts';
import { statusText } from './status-text.ts';
import { takeOver } from './take-over.ts';
import { Upstreams, type Upstream } from './upstreams.ts';
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
  const { spool, proxies, journal, notify, stop, watch = watchSpool } = options;
  const recovered = takeOver(spool, options.retryTimes);
  journal.drainStarted(
    spool.folder,
    proxies.map(({ connection }) => connection.url.href),
    { queued: queuedMessages(spool), recovered },
  );
  const loop = new DrainLoop(options);
  const wake = () => loop.alarm.wake();
  const unwatch = watch(spool, wake, (error) => {
    journal.spoolUnwatched(spool.folder, error.message, limits.lookMs);
  });
  const end = () => {
    notify.stopping();
    for (const { connection } of proxies) connection.end();
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
    await Promise.all(proxies.map(async ({ connection }) => connection.close()));
  }
}

class DrainLoop {
  readonly alarm: Alarm;
  readonly #clock: Clock;
  readonly #options: DrainOptions;
  readonly #upstreams: Upstreams;
  readonly #giveUp = new AbortController();
  readonly #reports: SenderReports;
  readonly #inFlight = new Map<number, Claimed>();
  /**
   * Of these, what the proxy has and is asked for. It takes nobody's place, and its bytes are not counted: in memory it has
   * limits.smallBodyBytes at most.
   */
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
  /** Observed time. */
  readonly #startedAt: number;
  #sampleAt = 0;
  /** What posts tell the proxy of the queue, and until when that is told; when a probe tells it at the latest: monotonic. */
  #queue: QueueReport | undefined;
  #queueUntil = -Infinity;
  #tellAt: number;
  /** When what is in flight is given up, once drain is stopped: monotonic. */
  #stopBy = Infinity;

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#clock = options.spool.clock;
    this.#startedAt = options.spool.now();
    this.#tellAt = this.#clock.now() + limits.tellQueueMs;
    this.alarm = new Alarm(this.#clock);
    const upstreams = options.proxies.map((proxy) => this.#upstreamOf(proxy));
    this.#upstreams = new Upstreams(upstreams, this.#clock.now());
    const done = () => this.alarm.wake();
    this.#reports = new SenderReports(options, this.#giveUp.signal, done);
  }

  /** As a spool remembers it, so that the first message is posted for its ledger. */
  #upstreamOf({ connection, postOnce, bundler }: ProxyAccess): Upstream {
    const { spool, stop } = this.#options;
    const url = connection.url.href;
    connection.ledger ??= ledgerOf(spool, url) ?? undefined;
    const endpoint = new Endpoint();
    const signals = { stop, giveUp: this.#giveUp.signal };
    const telling = (post: PostRequest): PostRequest => {
      this.#tellAt = this.#clock.now() + limits.tellQueueMs;
      return { ...post, queue: this.#queue };
    };
    const posting = {
      postOnce: async (post: PostRequest, signal: AbortSignal) => postOnce(telling(post), signal),
      postBundled: async (post: PostRequest, signal: AbortSignal) =>
        bundler?.post(telling(post), signal) ?? {},
    };
    const courier = new Courier(posting, endpoint, this.#clock, signals);
    return { url, connection, endpoint, courier };
  }

  /** The URLs of all proxies. */
  get #urls(): string[] {
    return this.#upstreams.all.map(({ url }) => url);
  }

  /** What waits for a proxy that does not come back may go to any other one. */
  #giveUpProxies(): void {
    const { spool, journal } = this.#options;
    const urls = { urls: this.#urls, inUseSince: this.#startedAt };
    for (const { url, messages } of giveUpProxies(spool, urls, spool.now())) {
      journal.proxyGivenUp(url, messages);
    }
  }

  async run(): Promise<Ending> {
    this.#giveUpProxies();
    this.#forgetCertificates();
    this.#options.progress?.begin(queuedMessages(this.#options.spool));
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
    const canRecord = this.#attempts.length > 0 && this.#spoolTrouble.failures === 0;
    if (this.#inFlight.size === 0 && !this.#reports.submitting && !canRecord) return 'stopped';
    this.#giveUp.abort();
    return undefined;
  }

  #endingOfOnce(): Ending | undefined {
    if (!this.#options.once || !this.#isIdle) return undefined;
    if (this.#upstreams.downUntil !== undefined) return 'unreachable';
    const now = this.#options.spool.now();
    return this.#dueAt > now && this.#reports.wantedInMs(now) > 0 ? 'empty' : undefined;
  }

  get #isIdle(): boolean {
    return this.#inFlight.size === 0 && this.#attempts.length === 0 && !this.#reports.busy;
  }

  /**
   * One round: records attempts that ended, claims messages that are due in the same transaction, and posts these. It takes
   * limits.turnMessages of each at most.
   */
  #turn(): void {
    const { spool, journal, notify, once, stop } = this.#options;
    const fault = () => `${spoolTroubleStatus}: ${this.#spoolTrouble.text}`;
    if (this.#clock.now() < this.#spoolTrouble.retryAt) return notify.working(fault);
    try {
      spool.files.requireInPlace();
      this.#upstreams.heedCalls(endpointRecord(spool).calls, this.#clock.now());
      this.#noteQueue();
      this.#recordAndClaim();
      this.#reports.turn(spool.now(), { begin: !stop.aborted });
      for (const { upstream, inMs } of this.#toProbe()) if (inMs <= 0) void this.#probe(upstream);
      // What comes of it does not matter: the next post finds out.
      if (this.#tellInMs() <= 0) void this.#upstreams.current?.courier.probe();
      this.#keepHouseWhenTime();
      this.#takeSampleWhenTime();
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
    const { spool, journal, progress } = this.#options;
    const capacity = this.#capacity();
    const isNews = this.#attempts.length > 0 || this.#events.length > 0;
    if (capacity.messages === 0 && !isNews) return;

    const facts = this.#facts(capacity);
    const plan = planTurn(facts, this.#options, () => this.#clock.random());
    const { claimed, queued } = commitTurn(spool, plan);
    progress?.add(facts.attempts.length);
    this.#attempts = this.#attempts.slice(facts.attempts.length);
    if (this.#attempts.length > 0) this.alarm.wake();
    this.#events = [];
    this.#tooLarge = capacity.messages > 0 && claimed.length === 0;

    for (const message of claimed) void this.#work(message, plan.postTo?.ledger ?? undefined);
    logTurn(journal, plan, {
      wallNow: this.#clock.wallNow(),
      folder: spool.folder,
      urls: this.#urls,
      queued,
    });
  }

  /** How much may be claimed; no messages where none are due. */
  #capacity(): Capacity {
    const { spool } = this.#options;
    const isDue = (nextDueAt(spool) ?? Infinity) <= spool.now();
    const posted = [...this.#inFlight.values()].filter(({ seq }) => !this.#asked.has(seq));
    const messages = Math.min(this.#postsLeft, limits.turnMessages);
    return { messages: isDue ? messages : 0, ...capacityLeft(posted) };
  }

  #facts(capacity: Capacity): TurnFacts {
    const { spool } = this.#options;
    const now = spool.now();
    const { downUntil, current } = this.#upstreams;
    return {
      now,
      attempts: this.#attempts.slice(0, limits.turnMessages),
      events: this.#events,
      endpoint: endpointRecord(spool),
      outageMs: outageMs(spool, now),
      askedInMs: downUntil === undefined ? undefined : downUntil - this.#clock.now(),
      postTo: current && shownBy(current),
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

  /** The message is posted for the ledger that was stored with its claim, or for that of its earlier post. */
  async #work(message: Claimed, ledger: string | undefined): Promise<void> {
    this.#inFlight.set(message.seq, message);
    const { unansweredBy } = message;
    const upstream = unansweredBy ? await this.#holderOf(unansweredBy) : this.#upstreams.current;
    const attempt = upstream
      ? await this.#attempt(message, upstream, unansweredBy ? unansweredBy.ledger : ledger)
      : withoutHolder(message);
    this.#inFlight.delete(message.seq);
    this.#asked.delete(message.seq);
    this.#attempts.push(attempt);
    this.alarm.wake();
  }

  /** The proxy that knows what became of a message that was posted there; those that may be it are asked, one after the other. */
  async #holderOf(posted: PostedTo): Promise<Upstream | undefined> {
    for (const upstream of this.#upstreams.mayHold(posted)) {
      const holder = this.#upstreams.holderOf(posted);
      if (holder) return holder;
      if ((upstream.endpoint.downUntil ?? 0) <= this.#clock.now()) await this.#probe(upstream);
    }
    return this.#upstreams.holderOf(posted);
  }

  async #attempt(
    message: Claimed,
    upstream: Upstream,
    ledger: string | null | undefined,
  ): Promise<Attempt> {
    const { journal } = this.#options;
    const post = upstream.endpoint.begin(this.#clock.now());
    let damage: string | undefined;
    const bytes = message.body
      ? [message.body]
      : watchDamage(readBody(this.#options.spool, message.seq, message.size), (fault) => {
          damage = fault;
        });
    let waiting: { since: number; toldAt: number } | undefined;
    const inProgress = (recipients: readonly string[]) => {
      const now = this.#clock.now();
      if (waiting) {
        if (now - waiting.toldAt < limits.faultRepeatMs) return;
        waiting.toldAt = now;
        journal.longInProgress(message, recipients, upstream.url, now - waiting.since);
        return;
      }
      waiting = { since: now, toldAt: now };
      journal.inProgress(message, message.attempts + 1, recipients);
      this.#passed(upstream, 'post-passed');
      if (this.#asked.size < limits.asked) this.#asked.add(message.seq);
      post.end();
      this.alarm.wake();
    };
    const attempt = await upstream.courier
      .deliver(message, bytes, ledger ?? undefined, inProgress)
      // Whatever happens, the message gets an outcome and is not left as being sent.
      .catch((error: unknown) => ({ ...unreadable(message, messageOf(error)), passed: false }));
    const { trouble, passed } = attempt;
    if (passed) {
      this.#passed(upstream, 'post-passed');
      this.#retryLast.clear();
    }
    // It has told its ledger, as to a probe.
    if (trouble?.scope === 'ledger') this.#passed(upstream, 'probe-passed');
    if (trouble?.scope === 'pace') this.#slowDown(upstream, trouble.diagnosis, post);
    if (trouble?.scope === 'endpoint') {
      this.#retryLast.add(message.seq);
      this.#endpointTrouble(upstream, trouble.diagnosis, post);
    }
    post.end();
    return { ...attempt, damage };
  }

  #slowDown(upstream: Upstream, diagnosis: Diagnosis, post: PostInFlight): void {
    const now = this.#clock.now();
    const limit = post.slowDown(now, diagnosis.retryAfterMs);
    if (limit === undefined) return this.#endpointTrouble(upstream, diagnosis, post);
    if (!upstream.endpoint.shouldReportSlower(now)) return;
    this.#options.journal.endpointSlower(upstream.url, diagnosis.text, limit);
  }

  /** The proxies that are to be asked, and when; none where that has to wait for something else. */
  #toProbe(): ReturnType<Upstreams['toProbe']> {
    const { stop, once } = this.#options;
    return stop.aborted ? [] : this.#upstreams.toProbe(this.#clock.now(), once);
  }

  /** In how many milliseconds the next proxy is to be asked; Infinity where none is. */
  #probeInMs(): number {
    return Math.min(Infinity, ...this.#toProbe().map(({ inMs }) => inMs));
  }

  async #probe(upstream: Upstream): Promise<void> {
    const result = await upstream.courier.probe();
    if (result.kind === 'verdicts' || result.kind === 'slower') {
      upstream.endpoint.probePassed();
      this.#upstreams.answered(upstream, this.#clock.now());
      this.#passed(upstream, 'probe-passed');
    } else if (result.kind !== 'aborted') {
      this.#endpointTrouble(upstream, diagnose(result), upstream.endpoint);
    }
    this.alarm.wake();
  }

  /** In how many milliseconds a probe is to tell the proxy what waits here, because no post does. */
  #tellInMs(): number {
    const { stop, once } = this.#options;
    const { current } = this.#upstreams;
    const isPosting = this.#inFlight.size > 0 || current?.courier.probing;
    const isQuiet = !isPosting && current !== undefined;
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

  #passed(upstream: Upstream, kind: 'post-passed' | 'probe-passed'): void {
    const { current, fallback } = this.#upstreams;
    const uses = upstream === current ? { url: upstream.url, fallback } : undefined;
    this.#events.push({ kind, by: shownBy(upstream), uses });
  }

  #endpointTrouble(upstream: Upstream, diagnosis: Diagnosis, met: Pick<Endpoint, 'trouble'>): void {
    const { endpoint } = upstream;
    const now = this.#clock.now();
    const wasUsed = upstream === this.#upstreams.current;
    const waitMs = met.trouble(now, this.#clock.random(), diagnosis.retryAfterMs);
    if (waitMs === undefined) return;
    this.#upstreams.failed(upstream, { fault: diagnosis.text, wasUsed, now });
    const { remedy } = diagnosis;
    const isReported = remedy !== undefined && endpoint.shouldReport(remedy, now);
    const { downUntil, faults } = this.#upstreams;
    if (downUntil === undefined) {
      this.#events.push({ kind: 'passed-over', url: upstream.url, diagnosis, isReported });
    } else {
      const [all, { failures }] = [{ ...diagnosis, text: faults }, endpoint];
      const event = { diagnosis: all, failures, waitMs: downUntil - now, isReported };
      this.#events.push({ kind: 'failed', ...event });
    }
  }

  #keepHouseWhenTime(): void {
    const now = this.#clock.now();
    if (now < this.#keepHouseAt) return;
    this.#keepHouseAt = now + limits.housekeepingMs; // Where it fails, as on damage, mail goes on till then.
    this.#giveUpProxies();
    const more = keepHouse(this.#options.spool, this.#options.spool.now());
    if (more) this.#keepHouseAt = now + limits.housekeepingStepMs;
  }

  /** Nobody wants to hear that the certificate of a proxy expires which is not named any more. */
  #forgetCertificates(): void {
    const hosts = this.#options.proxies.map(({ connection }) => connection.url.host);
    keepLabels(this.#options.spool, CERTIFICATES, hosts);
  }

  /** An idle drain writes nothing, and is not woken for it: what happened last is in the sample of its next look. */
  #takeSampleWhenTime(): void {
    const now = this.#clock.now();
    if (now < this.#sampleAt) return;
    this.#sampleAt = now + limits.sampleMs;
    const { spool } = this.#options;
    const present = this.#upstreams.all.flatMap(({ connection: { pool, url } }) => {
      const { certificateExpiresAt: value } = pool;
      return value === undefined ? [] : [{ name: CERTIFICATES, label: url.host, value }];
    });
    takeSample(spool, spool.now(), present);
  }

  get #places(): number {
    return limits.inFlight - (this.#inFlight.size - this.#asked.size);
  }

  /** How many posts may be begun. */
  get #postsLeft(): number {
    if (this.#options.stop.aborted) return 0;
    return Math.min(this.#upstreams.capacity(this.#clock.now()), this.#places);
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
      claims ? Math.max(this.#dueAt - spool.now(), this.#upstreams.capacityInMs(now)) : Infinity,
    );
  }
}

/** A proxy with the ledger that it showed last. */
function shownBy({ url, connection: { ledger = null } }: Upstream): PostedTo {
  return { url, ledger };
}

/** A message that waits alone for a proxy that does not answer now. */
function withoutHolder(message: Claimed): Attempt {
  const text =
    `it was posted to ${message.unansweredBy?.url}, which did not answer whether it was sent, and does not answer now ` +
    'with the ledger that knows; no other proxy may send it';
  const diagnosis: Diagnosis = { text, scope: 'message' };
  return { message, verdicts: [], trouble: { scope: 'message', diagnosis }, unanswered: true };
}

function unreadable(message: Claimed, text: string): Attempt {
  const diagnosis = diagnose({ kind: 'unreadable', text });
  const unanswered = message.unansweredBy !== undefined;
  return { message, verdicts: [], trouble: { scope: 'message', diagnosis }, unanswered };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The figure that says when the certificate of a proxy expires, by its host. */
const CERTIFICATES = 'certificate_expires';
