import { limits } from '../mail/limits.ts';
import type { Journal } from '../host/journal.ts';
import {
  claim,
  nextDueAt,
  recoverClaimed,
  roomFor,
  undoClockStep,
  type Claimed,
} from '../spool/claim.ts';
import { readBody } from '../spool/body.ts';
import { endpointRecord, outageMs, recordDown, recordPassed } from '../spool/endpoint.ts';
import { keepHouse } from '../spool/keep-house.ts';
import { record, type Outcome } from '../spool/record.ts';
import type { Spool } from '../spool/spool.ts';
import { stats, type Counters } from '../spool/stats.ts';
import { watchSpool } from '../spool/watch-spool.ts';
import type { Connection } from '../wire/connection.ts';
import { Alarm } from './alarm.ts';
import { Courier, type Delivery } from './courier.ts';
import { Endpoint } from './endpoint.ts';
import { meaningOf, type Meaning } from './meaning.ts';
import { outcomeOf } from './outcome.ts';

export interface DrainOptions {
  /** Opened by the holder of the spool's drain lock. */
  spool: Spool;
  connection: Connection;
  journal: Journal;
  /** End when nothing is due, or when the endpoint is down. */
  once: boolean;
  /** Finish what is in flight, for limits.stopMs at most, and end. */
  stop: AbortSignal;
  /** Called now and then with how things stand. */
  progress?: ((counters: Counters) => void) | undefined;
}

/** How a drain ended. */
export type Ending = 'stopped' | 'empty' | 'unreachable';

/**
 * Drains the spool: claims what is due, posts it, records what came of it. Runs until stopped, or with
 * `once` until nothing is due. Throws when the spool cannot be opened for work at all.
 */
export async function drain(options: DrainOptions): Promise<Ending> {
  const { spool, connection, journal, stop } = options;
  const recovered = recoverClaimed(spool, Date.now());
  undoClockStep(spool, Date.now());
  journal.drainStarted(spool.folder, connection.url.href, queued(spool), recovered);

  const loop = new DrainLoop(options);
  const wake = () => loop.alarm.wake();
  const unwatch = watchSpool(spool, wake, (error) => {
    journal.spoolUnwatched(spool.folder, error.message, limits.lookMs);
  });
  stop.addEventListener('abort', wake);
  try {
    return await loop.run();
  } finally {
    stop.removeEventListener('abort', wake);
    unwatch();
    await connection.close();
    journal.drainStopped(spool.folder, queued(spool));
  }
}

/** A delivery that is over and not yet recorded. */
interface Finished {
  message: Claimed;
  delivery: Delivery;
}

class DrainLoop {
  readonly alarm = new Alarm();
  readonly #options: DrainOptions;
  readonly #endpoint = new Endpoint();
  readonly #giveUp = new AbortController();
  readonly #courier: Courier;
  readonly #inFlight = new Map<number, Claimed>();
  #finished: Finished[] = [];
  /** Met trouble of the endpoint since a post passed: others go first, in case it was theirs after all. */
  readonly #suspects = new Set<number>();
  /** Why the endpoint is down, or that it passed; undefined when there is no news to record. */
  #endpointNews: { down: string } | 'passed' | undefined;
  /** Monotonic time before which the spool is not touched again. */
  #spoolRetryAt = 0;
  /** Something is due that is too large for the bytes left in flight: it waits for a delivery to end. */
  #tooLarge = false;
  #keepHouseAt = 0;
  #clockOffset = Date.now() - performance.now();

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#courier = new Courier(options.connection, this.#endpoint, this.#giveUp.signal);
  }

  async run(): Promise<Ending> {
    const { stop, once } = this.#options;
    let stopBy = Infinity;
    for (;;) {
      this.#turn();
      const idle = this.#inFlight.size === 0 && this.#finished.length === 0;
      if (stop.aborted) {
        stopBy = Math.min(stopBy, performance.now() + limits.stopMs);
        const late = performance.now() >= stopBy;
        if (idle || (late && this.#inFlight.size === 0)) return 'stopped';
        if (late) this.#giveUp.abort();
      } else if (once && idle) {
        if (this.#endpoint.downUntil !== undefined) return 'unreachable';
        if (!this.#isDue()) return 'empty';
      }
      await this.alarm.wait(Math.min(this.#sleepMs(), stopBy - performance.now()));
    }
  }

  /** One round: record what is finished, claim what is due in the same transaction, post it. */
  #turn(): void {
    if (performance.now() < this.#spoolRetryAt) return;
    const { spool, journal, progress } = this.#options;
    try {
      this.#noticeClockStep();
      if (this.#isTimeToProbe()) void this.#probe();
      this.#recordAndClaim();
      this.#keepHouseWhenTime();
      progress?.(stats(spool).counters);
    } catch (error) {
      // What was sent and cannot be recorded would be sent again: nothing is sent until it can be.
      this.#spoolRetryAt = performance.now() + limits.spoolRetryMs;
      journal.spoolTrouble(spool.folder, messageOf(error), limits.spoolRetryMs);
    }
  }

  #recordAndClaim(): void {
    const { spool, journal } = this.#options;
    const now = Date.now();
    const finished = this.#finished;
    const news = this.#endpointNews;
    const messages = this.#isDue() ? this.#room() : 0;
    if (messages === 0 && finished.length === 0 && news === undefined) return;

    const before = endpointRecord(spool);
    const outage = outageMs(spool, now);
    const outcomes = finished.map(({ message, delivery }) => {
      const circumstances = { now, outageMs: outage, random: Math.random() };
      return { message, delivery, outcome: outcomeOf(message, delivery, circumstances) };
    });
    const claimed = spool.transaction(() => {
      if (news === 'passed') recordPassed(spool, now);
      else if (news) recordDown(spool, news.down, now);
      for (const { outcome } of outcomes) record(spool, outcome, now);
      const bytes = limits.inFlightBytes - this.#bytesInFlight();
      return claim(spool, { messages, bytes }, now, this.#suspects);
    });
    this.#finished = [];
    this.#endpointNews = undefined;
    this.#tooLarge = messages > 0 && claimed.length === 0;

    for (const message of claimed) void this.#work(message);
    for (const { message, delivery, outcome } of outcomes) {
      this.#announce(message, delivery, outcome, now);
    }
    if (news === 'passed' && before.downSince !== null) {
      journal.endpointUp(this.#options.connection.url.href, now - before.downSince, queued(spool));
    }
  }

  #announce(message: Claimed, { trouble }: Delivery, outcome: Outcome, now: number): void {
    const { journal } = this.#options;
    const attempt = message.attempts + 1;
    const undecided = new Map(
      message.recipients.map(({ position, address }) => [position, address]),
    );
    const recipients = outcome.verdicts.map(({ position, ...verdict }) => {
      const address = undecided.get(position) ?? '';
      undecided.delete(position);
      return { address, ...verdict };
    });
    if (recipients.length > 0) {
      journal.attempted(message, attempt, recipients, outcome.dueAt, now);
    }
    if (trouble && undecided.size > 0) {
      const { lastStatus } = outcome;
      const waitMs = (this.#endpoint.downUntil ?? 0) - performance.now();
      const rest = [...undecided.values()];
      journal.postponed(message, attempt, rest, lastStatus, trouble.meaning.text, waitMs);
    }
  }

  async #work(message: Claimed): Promise<void> {
    this.#inFlight.set(message.seq, message);
    const end = this.#endpoint.begin();
    const delivery = await this.#deliver(message);
    end();
    this.#inFlight.delete(message.seq);
    this.#finished.push({ message, delivery });
    if (delivery.verdicts.length > 0) {
      this.#endpointNews = 'passed';
      this.#suspects.clear();
    }
    if (delivery.trouble?.of === 'endpoint') {
      this.#suspects.add(message.seq);
      this.#endpointTrouble(delivery.trouble.meaning);
    }
    this.alarm.wake();
  }

  /** Never rejects: whatever happens, the message gets an outcome and is not left as being sent. */
  async #deliver(message: Claimed): Promise<Delivery> {
    try {
      const bytes = readBody(this.#options.spool, message.seq, message.size);
      if (!bytes) throw new Error("the spool has lost the message's bytes");
      return await this.#courier.deliver(message, bytes);
    } catch (error) {
      const text = `the message cannot be posted: ${messageOf(error)}`;
      return { verdicts: [], trouble: { of: 'message', meaning: { text, messageWhen: 'never' } } };
    }
  }

  #isTimeToProbe(): boolean {
    const { stop, once } = this.#options;
    const { downUntil } = this.#endpoint;
    if (stop.aborted || once || this.#courier.probing) return false;
    return downUntil !== undefined && performance.now() >= downUntil;
  }

  async #probe(): Promise<void> {
    const answer = await this.#courier.probe();
    if (answer.kind === 'verdicts') {
      this.#endpoint.probePassed();
      // While posts may still be refused, the outage is over only when one passes.
      if (queued(this.#options.spool) === 0) this.#endpointNews = 'passed';
    } else if (answer.kind !== 'aborted') {
      this.#endpointTrouble(meaningOf(answer));
    }
    this.alarm.wake();
  }

  #endpointTrouble({ text, remedy, retryAfterMs }: Meaning): void {
    const { journal, connection, spool } = this.#options;
    const now = performance.now();
    const waitMs = this.#endpoint.trouble(now, Math.random(), retryAfterMs);
    this.#endpointNews = { down: text };
    if (waitMs !== undefined) {
      const { failures } = this.#endpoint;
      journal.endpointDown(connection.url.href, text, failures, waitMs, queued(spool));
    }
    if (remedy !== undefined && this.#endpoint.tellFault(remedy, now)) {
      journal.operatorFault(text, remedy);
    }
  }

  /** Due times are of the wall clock: one that was stepped back must not make mail wait. */
  #noticeClockStep(): void {
    const offset = Date.now() - performance.now();
    if (offset < this.#clockOffset - CLOCK_STEP_MS) undoClockStep(this.#options.spool, Date.now());
    this.#clockOffset = offset;
  }

  #keepHouseWhenTime(): void {
    const now = performance.now();
    if (now < this.#keepHouseAt) return;
    const more = keepHouse(this.#options.spool, Date.now());
    this.#keepHouseAt = now + (more ? limits.housekeepingStepMs : limits.housekeepingMs);
  }

  #room(): number {
    if (this.#options.stop.aborted) return 0;
    return Math.min(this.#endpoint.room, limits.inFlight - this.#inFlight.size);
  }

  #bytesInFlight(): number {
    let bytes = 0;
    for (const { size } of this.#inFlight.values()) bytes += roomFor(size);
    return bytes;
  }

  #isDue(): boolean {
    return (nextDueAt(this.#options.spool, Date.now()) ?? Infinity) <= Date.now();
  }

  #sleepMs(): number {
    const now = performance.now();
    if (now < this.#spoolRetryAt) return this.#spoolRetryAt - now;
    const { downUntil } = this.#endpoint;
    const probe = downUntil === undefined || this.#courier.probing ? Infinity : downUntil - now;
    const due = nextDueAt(this.#options.spool, Date.now()) ?? Infinity;
    // Without room, what is due waits for a delivery to end, which wakes the loop.
    const claims = this.#room() > 0 && !this.#tooLarge;
    const housekeeping = this.#keepHouseAt - now;
    return Math.min(limits.lookMs, probe, housekeeping, claims ? due - Date.now() : Infinity);
  }
}

function queued(spool: Spool): number {
  const { counters } = stats(spool);
  return counters.queued + counters.sending;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A step of the wall clock against the monotonic one that is more than the two drifting apart. */
const CLOCK_STEP_MS = 1000;
