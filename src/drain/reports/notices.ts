import { createHash } from 'node:crypto';
import type { DrainJournal } from '../drain-journal.ts';
import type { MachineNames } from '../../host/machine-names.ts';
import { deliveryReport, summaryReport } from '../../mail/delivery-report.ts';
import { headerSize } from '../../mail/headers.ts';
import { limits } from '../../limits.ts';
import { readBody } from '../../spool/body.ts';
import { outageMs } from '../../spool/endpoint.ts';
import { expiresAt, lifetimeMs } from '../../spool/lifetime.ts';
import {
  collectNotice,
  countNotice,
  dropEmptyNotices,
  dropNotice,
  dueNotices,
  nextNoticeAt,
  noticeRefused,
  noticeSubjects,
  noticeTold,
  postponeNotice,
  toldTimes,
  type Notice,
  type NoticeSubject,
} from '../../spool/notice.ts';
import type { Spool } from '../../spool/spool.ts';
import { noticeBackoffMs } from '../backoff.ts';
import { isWarned } from './is-warned.ts';
import { submit, type MailServer, type Submission } from './submit.ts';

export interface NoticeOptions {
  server: MailServer;
  perHour: number;
  /** Who reports. */
  names: MachineNames;
}

/** A notice that is handed to the mail server. */
interface HandOver {
  notice: Notice;
  subjects: NoticeSubject[];
  /** How often in a row the mail server was not there when it began. */
  failures: number;
}

/**
 * Tells senders what became of their mail, beside the posts: several at once, each sender one notice after
 * the other. What is owed is in the spool; it is owed until the mail server has taken it, so a crash repeats
 * at most the notices in flight.
 */
export class Notices {
  readonly #spool: Spool;
  readonly #journal: DrainJournal;
  readonly #options: NoticeOptions;
  readonly #done: () => void;
  readonly #giveUp: AbortSignal;
  /** What is being handed over, by its sender. */
  readonly #inFlight = new Map<string, HandOver>();
  /** Hand-overs that are over and not yet recorded. */
  readonly #ended: (HandOver & { submission: Submission })[] = [];
  /** How often in a row the mail server was not there. */
  #failures = 0;
  /** When it is looked for what is due again, at the earliest: monotonic. */
  #lookAt = 0;
  #dueAt = Infinity;

  /**
   * `done` is called when a notice was handed over, or not: then `turn` records it. `giveUp` ends
   * hand-overs, and what was not taken stays owed.
   */
  constructor(
    spool: Spool,
    journal: DrainJournal,
    options: NoticeOptions,
    giveUp: AbortSignal,
    done: () => void,
  ) {
    this.#giveUp = giveUp;
    this.#spool = spool;
    this.#journal = journal;
    this.#options = options;
    this.#done = done;
  }

  /** Whether one is being handed over. */
  get handing(): boolean {
    return this.#inFlight.size > 0;
  }

  /** Whether one is being handed over, or not recorded yet. */
  get busy(): boolean {
    return this.handing || this.#ended.length > 0;
  }

  /** In how many milliseconds there is something to do; Infinity while only what is done wakes the loop. */
  wantedInMs(now: number): number {
    return Math.max(this.#dueAt - now, this.#lookAt - performance.now());
  }

  /** Records what the mail server said of those that are over and, if wanted, begins others that are due. */
  turn(now: number, { begin }: { begin: boolean }): void {
    for (let [ended] = this.#ended; ended; [ended] = this.#ended) {
      this.#record(ended, now);
      this.#ended.shift();
    }
    const room = begin ? limits.noticesAtOnce - this.#inFlight.size : 0;
    const looks = room > 0 && performance.now() >= this.#lookAt;
    const onlyWait = looks && !this.#next(now, room);
    // While much waits for the notices in flight, each look takes milliseconds.
    if (onlyWait && this.handing) this.#lookAt = performance.now() + limits.noticesLookMs;
    // Who may not begin has nothing to wake for. What waits for a sender's notice in flight is woken by its end.
    const isFull = this.#inFlight.size >= limits.noticesAtOnce;
    const next = begin && !isFull ? nextNoticeAt(this.#spool, onlyWait ? now : -1) : undefined;
    this.#dueAt = next ?? Infinity;
  }

  /** Begins those that are next, `room` at most, and settles others; false when all that is due has to wait. */
  #next(now: number, room: number): boolean {
    const spool = this.#spool;
    const { settle, next } = this.#look(now, room);
    if (settle.length > 0) spool.transaction(() => settle.forEach((change) => change()));
    for (const { notice, subjects } of next) {
      const bytes = this.#compose(notice, subjects, now);
      const handOver = { notice, subjects, failures: this.#failures };
      this.#inFlight.set(notice.sender, handOver);
      void this.#hand(handOver, bytes);
    }
    return settle.length > 0 || next.length > 0;
  }

  /**
   * Those that are to be handed over next, and what becomes of others that are due. Looks at limits.noticesLook
   * of them besides those that may wait for a notice in flight: posts must go on. Only reads, since SQLite
   * rolls a transaction back in which the disk cannot be read.
   */
  #look(
    now: number,
    room: number,
  ): { settle: (() => void)[]; next: Pick<HandOver, 'notice' | 'subjects'>[] } {
    const spool = this.#spool;
    const { perHour } = this.#options;
    const settle: (() => void)[] = [];
    const next: Pick<HandOver, 'notice' | 'subjects'>[] = [];
    const summaries = new Set<string>();
    /** How many notices of each sender come before: in flight, next, or waiting for these. */
    const ahead = new Map([...this.#inFlight.keys()].map((sender) => [sender, 1]));
    const most = limits.noticesLook + this.#inFlight.size * perHour;
    for (const notice of dueNotices(spool, now, most)) {
      if (next.length === room) break;
      const { sender, collected } = notice;
      if (this.#isInFlight(notice)) continue;
      // What is collected for a sender is settled together.
      if (collected && summaries.has(sender)) continue;
      if (collected) summaries.add(sender);
      const subjects = noticeSubjects(spool, notice);
      const told = toldTimes(spool, sender, now);
      const before = ahead.get(sender) ?? 0;
      if (subjects.length === 0) {
        settle.push(() => dropEmptyNotices(spool, notice));
      } else if (!this.#isWanted(notice, subjects)) {
        settle.push(() => dropNotice(spool, notice));
      } else if (told.length + before >= perHour) {
        // Law 9: the rest of what happens in this hour is one report.
        const dueAt = (told[0] ?? now - 1) + limits.noticesHourMs + 1;
        settle.push(() => collectNotice(spool, notice, dueAt));
      } else {
        ahead.set(sender, before + 1);
        if (before === 0) next.push({ notice, subjects });
      }
    }
    return { settle, next };
  }

  #isInFlight({ sender, collected, seq, kind }: Notice): boolean {
    const notice = this.#inFlight.get(sender)?.notice;
    if (!notice || notice.collected !== collected) return false;
    return collected || (notice.seq === seq && notice.kind === kind);
  }

  async #hand(handOver: HandOver, bytes: Buffer): Promise<void> {
    const { sender } = handOver.notice;
    const { server, names } = this.#options;
    const submission = await submit(server, names.host, sender, bytes, this.#giveUp);
    this.#inFlight.delete(sender);
    this.#ended.push({ ...handOver, submission });
    this.#done();
  }

  #record(handOver: HandOver & { submission: Submission }, now: number): void {
    const { notice, subjects, submission } = handOver;
    const { kind, text } = submission;
    if (kind === 'unavailable') {
      this.#wait(handOver.failures, text);
      return;
    }
    if (kind !== 'invalid') this.#serverIsThere();
    const spool = this.#spool;
    const tries = notice.tries + (kind === 'unanswered' ? limits.noticeUnansweredTries : 1);
    if (kind === 'taken') {
      spool.transaction(() => noticeTold(spool, notice, subjects, now));
      this.#journal.senderTold(notice.sender, subjects);
    } else if (kind === 'refused' || kind === 'invalid' || tries >= limits.noticeTries) {
      spool.transaction(() => noticeRefused(spool, subjects));
      this.#journal.noticeRefused(notice.sender, subjects, text);
    } else {
      const waitMs = noticeBackoffMs(tries);
      spool.transaction(() => {
        // Law 9: the sender may have it, so it is one of those of this hour.
        if (kind === 'unanswered') countNotice(spool, notice.sender, now);
        postponeNotice(spool, notice, now + waitMs, tries);
      });
      if (kind === 'unanswered') {
        this.#journal.noticeUnanswered(notice.sender, subjects, text, waitMs);
      }
    }
  }

  #serverIsThere(): void {
    const { host, port } = this.#options.server;
    if (this.#failures > 0) this.#journal.noticesGoOn(`${host}:${port}`);
    this.#failures = 0;
    this.#lookAt = 0;
  }

  /** The mail server is left alone for a while. What was in flight together has failed once. */
  #wait(failuresBefore: number, text: string): void {
    if (this.#giveUp.aborted || failuresBefore < this.#failures) return;
    // A server at its limit of connections refuses one beside others; if it is away, the last of them tells.
    const isAway = !this.handing;
    this.#lookAt = performance.now() + noticeBackoffMs(this.#failures + 1);
    if (!isAway) return;
    this.#failures += 1;
    const { host, port } = this.#options.server;
    if (this.#failures === 1) this.#journal.noticesWait(`${host}:${port}`, text);
  }

  /** Nobody is warned of the delay of what is sent by programs. What is collected was looked at before. */
  #isWanted(notice: Notice, [subject]: readonly NoticeSubject[]): boolean {
    if (notice.kind === 'failure' || notice.collected || !subject) return true;
    const header = this.#header(subject);
    return header === undefined || isWarned(header);
  }

  #compose({ sender, collected }: Notice, subjects: readonly NoticeSubject[], now: number): Buffer {
    const what = JSON.stringify([sender, collected, subjects]);
    const name = createHash('sha256').update(what).digest('hex').slice(0, 32);
    const wallNow = Date.now();
    const { host, mail } = this.#options.names;
    const reporter = { host: host ?? mail, domain: mail, now: wallNow, name };
    const [subject] = subjects;
    if (collected || !subject) return summaryReport(sender, subjects, reporter);
    const triedUntil = wallNow + this.#livesMs(subject, now);
    const original = this.#original(subject);
    return deliveryReport({ ...subject, to: sender, triedUntil, original }, reporter);
  }

  #livesMs(subject: NoticeSubject, now: number): number {
    return expiresAt(subject, outageMs(this.#spool, now), lifetimeMs(this.#spool)) - now;
  }

  #original(subject: NoticeSubject): { bytes: Buffer; whole: boolean } | undefined {
    const { seq, size } = subject;
    const parts =
      size <= limits.returnedBytes
        ? this.#read(() => [...readBody(this.#spool, seq, size)])
        : undefined;
    if (parts) return { bytes: Buffer.concat(parts), whole: true };
    const header = this.#header(subject);
    return header && { bytes: header, whole: false };
  }

  #header({ seq, size }: NoticeSubject): Buffer | undefined {
    const part = this.#read(() => {
      const [first] = readBody(this.#spool, seq, size);
      return first;
    });
    return part?.subarray(0, Math.min(headerSize(part), limits.returnedHeaderBytes));
  }

  /** What can be had of a message's bytes: a report without them is better than none (law 5). */
  #read<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch {
      return undefined; // Gone, or damaged. That is told where the message is posted.
    }
  }
}
