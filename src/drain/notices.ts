import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import type { Journal } from '../host/journal.ts';
import { deliveryReport, summaryReport } from '../mail/delivery-report.ts';
import { headerSize } from '../mail/headers.ts';
import { limits } from '../mail/limits.ts';
import { hasBody, readBody } from '../spool/body.ts';
import { outageMs } from '../spool/endpoint.ts';
import { expiresAt } from '../spool/lifetime.ts';
import {
  collectNotices,
  dropNotice,
  dueNotice,
  nextNoticeAt,
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
  readonly #journal: Journal;
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
    journal: Journal,
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

  #next(now: number): void {
    const spool = this.#spool;
    const found = spool.transaction(() => this.#find(now));
    if (!found) return;
    const { notice, subjects } = found;
    const bytes = this.#compose(notice, subjects, now);
    this.#handing = true;
    void this.#hand(notice, subjects, bytes);
  }

  /** The next to be handed over. Looks at limits.noticesLook of those that are due: posts must go on. */
  #find(now: number): Pick<Handed, 'notice' | 'subjects'> | undefined {
    const spool = this.#spool;
    for (let look = 0; look < limits.noticesLook; look += 1) {
      const notice = dueNotice(spool, now);
      if (!notice) return undefined;
      const told = toldTimes(spool, notice.sender, now);
      const subjects = noticeSubjects(spool, notice);
      const [oldest] = told;
      if (subjects.length === 0 || !this.#isWanted(notice, subjects)) {
        dropNotice(spool, notice);
      } else if (oldest !== undefined && told.length >= this.#options.perHour) {
        // Law 9: the rest of what happens in this hour is one report.
        collectNotices(spool, notice, oldest + limits.noticesHourMs + 1);
      } else {
        return { notice, subjects };
      }
    }
    return undefined;
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
      spool.transaction(() => {
        for (const subject of subjects) dropNotice(spool, subject);
      });
      this.#journal.noticeRefused(notice.sender, subjects, text);
    }
  }

  /** Nobody is warned of the delay of what is sent by programs. */
  #isWanted(notice: Notice, [subject]: readonly NoticeSubject[]): boolean {
    if (notice.kind === 'failure' || notice.collected || !subject) return true;
    const header = this.#header(subject);
    return header === undefined || isWarned(header);
  }

  #compose({ sender, collected }: Notice, subjects: readonly NoticeSubject[], now: number): Buffer {
    const what = JSON.stringify([sender, collected, subjects]);
    const name = createHash('sha256').update(what).digest('hex').slice(0, 32);
    const reporter = { host: hostname(), now, name };
    const [subject] = subjects;
    if (collected || !subject) return summaryReport(sender, subjects, reporter);
    const triedUntil = expiresAt(subject, outageMs(this.#spool, now));
    const original = this.#original(subject);
    return deliveryReport({ ...subject, to: sender, triedUntil, original }, reporter);
  }

  #original(subject: NoticeSubject): { bytes: Buffer; whole: boolean } | undefined {
    const { seq, size } = subject;
    const bytes = size <= limits.returnedBytes ? this.#read(seq, size) : undefined;
    if (bytes) return { bytes, whole: true };
    const header = this.#header(subject);
    return header && { bytes: header, whole: false };
  }

  #header({ seq, size }: NoticeSubject): Buffer | undefined {
    const part = this.#read(seq, size, 1);
    return part?.subarray(0, Math.min(headerSize(part), limits.returnedHeaderBytes));
  }

  /** The first parts of a message, if it can be had: a report without it is better than none. */
  #read(seq: number, size: number, parts = Infinity): Buffer | undefined {
    if (!hasBody(this.#spool, seq)) return undefined;
    try {
      const read: Buffer[] = [];
      for (const part of readBody(this.#spool, seq, size)) {
        read.push(part);
        if (read.length === parts) break;
      }
      return Buffer.concat(read);
    } catch {
      return undefined; // Damaged. That is told where the message is posted.
    }
  }
}
