import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import type { DrainJournal } from './drain-journal.ts';
import { deliveryReport, summaryReport } from '../mail/delivery-report.ts';
import { headerSize } from '../mail/headers.ts';
import { limits } from '../mail/limits.ts';
import { readBody } from '../spool/body.ts';
import { outageMs } from '../spool/endpoint.ts';
import { expiresAt } from '../spool/lifetime.ts';
import {
  collectNotice,
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
} from '../spool/notice.ts';
import type { Spool } from '../spool/spool.ts';
import { noticeBackoffMs } from './backoff.ts';
import { isWarned } from './is-warned.ts';
import { submit, type MailServer, type Submission } from './submit.ts';

export interface NoticeOptions {
  server: MailServer;
  perHour: number;
}

/** A notice that was handed to the mail server, and what came of it. */
interface Handed {
  notice: Notice;
  subjects: NoticeSubject[];
  submission: Submission;
}

/**
 * Tells senders what became of their mail, one notice after the other, beside the posts. What is owed is
 * in the spool; it is owed until the mail server has taken it, so a crash repeats one notice at most.
 */
export class Notices {
  readonly #spool: Spool;
  readonly #journal: DrainJournal;
  readonly #options: NoticeOptions;
  readonly #done: () => void;
  readonly #giveUp: AbortSignal;
  #handing = false;
  #handed: Handed | undefined;
  /** How often in a row the mail server was not there, and when it is asked again: monotonic. */
  #failures = 0;
  #retryAt = 0;
  #dueAt = Infinity;

  /**
   * `done` is called when a notice was handed over, or not: then `turn` records it. `giveUp` ends a
   * hand-over, and it stays owed.
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

  /** Whether one is being handed over, or not recorded yet. */
  get busy(): boolean {
    return this.#handing || this.#handed !== undefined;
  }

  /** In how many milliseconds there is something to do; Infinity while what is done wakes the loop. */
  wantedInMs(now: number): number {
    if (this.#handing) return Infinity;
    return Math.max(this.#dueAt - now, this.#retryAt - performance.now());
  }

  /** Records what the mail server said of the last notice and, if wanted, begins the next that is due. */
  turn(now: number, { begin }: { begin: boolean }): void {
    if (this.#handing) return;
    if (this.#handed) this.#record(this.#handed, now);
    this.#handed = undefined;
    if (begin && performance.now() >= this.#retryAt) this.#next(now);
    // Who may not begin has nothing to wake for.
    this.#dueAt = (begin ? nextNoticeAt(this.#spool) : undefined) ?? Infinity;
  }

  /** Begins the next one. Looks at limits.noticesLook of those that are due: posts must go on. */
  #next(now: number): void {
    const spool = this.#spool;
    const { settle, next } = this.#look(now);
    if (settle.length > 0) spool.transaction(() => settle.forEach((change) => change()));
    if (!next) return;
    const { notice, subjects } = next;
    const bytes = this.#compose(notice, subjects, now);
    this.#handing = true;
    void this.#hand(notice, subjects, bytes);
  }

  /**
   * The next that is to be handed over, and what becomes of those before it. Only reads, since SQLite
   * rolls a transaction back in which the disk cannot be read.
   */
  #look(now: number): { settle: (() => void)[]; next?: Pick<Handed, 'notice' | 'subjects'> } {
    const spool = this.#spool;
    const settle: (() => void)[] = [];
    const summaries = new Set<string>();
    for (const notice of dueNotices(spool, now, limits.noticesLook)) {
      // What is collected for a sender is settled together.
      if (notice.collected && summaries.has(notice.sender)) continue;
      if (notice.collected) summaries.add(notice.sender);
      const told = toldTimes(spool, notice.sender, now);
      const subjects = noticeSubjects(spool, notice);
      const [oldest] = told;
      if (subjects.length === 0) {
        settle.push(() => dropEmptyNotices(spool, notice));
      } else if (!this.#isWanted(notice, subjects)) {
        settle.push(() => dropNotice(spool, notice));
      } else if (oldest !== undefined && told.length >= this.#options.perHour) {
        // Law 9: the rest of what happens in this hour is one report.
        settle.push(() => collectNotice(spool, notice, oldest + limits.noticesHourMs + 1));
      } else {
        return { settle, next: { notice, subjects } };
      }
    }
    return { settle };
  }

  async #hand(notice: Notice, subjects: NoticeSubject[], bytes: Buffer): Promise<void> {
    const { server } = this.#options;
    const submission = await submit(server, notice.sender, bytes, this.#giveUp);
    this.#handing = false;
    this.#handed = { notice, subjects, submission };
    this.#done();
  }

  #record({ notice, subjects, submission: { kind, text } }: Handed, now: number): void {
    const spool = this.#spool;
    const { host, port } = this.#options.server;
    if (kind === 'unavailable') {
      this.#failures += 1;
      const waitMs = noticeBackoffMs(this.#failures);
      this.#retryAt = performance.now() + waitMs;
      if (this.#failures === 1) this.#journal.noticesWait(`${host}:${port}`, text);
      return;
    }
    if (this.#failures > 0) this.#journal.noticesGoOn(`${host}:${port}`);
    this.#failures = 0;
    if (kind === 'deferred' && notice.tries < limits.noticeTries) {
      const dueAt = now + noticeBackoffMs(notice.tries + 1);
      spool.transaction(() => postponeNotice(spool, notice, dueAt));
    } else if (kind === 'taken') {
      spool.transaction(() => noticeTold(spool, notice, subjects, now));
      this.#journal.senderTold(notice.sender, subjects);
    } else {
      spool.transaction(() => noticeRefused(spool, subjects));
      this.#journal.noticeRefused(notice.sender, subjects, text);
    }
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
    const reporter = { host: hostname(), now: wallNow, name };
    const [subject] = subjects;
    if (collected || !subject) return summaryReport(sender, subjects, reporter);
    const triedUntil = wallNow + expiresAt(subject, outageMs(this.#spool, now)) - now;
    const original = this.#original(subject);
    return deliveryReport({ ...subject, to: sender, triedUntil, original }, reporter);
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
