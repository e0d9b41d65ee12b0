import { thisMachine, type Machine } from '../../host/machine.ts';
import type { DrainJournal } from '../drain-journal.ts';
import type { MachineNames } from '../../host/machine-names.ts';
import { hostPortText } from '../../host/net/host-port.ts';
import { limits } from '../../limits.ts';
import {
  batchReport,
  countReport,
  dropEmptyReports,
  dropReport,
  dueReports,
  markRefused,
  markReported,
  nextReportAt,
  postponeReport,
  recentReportTimes,
  reportedMail,
  type PendingReport,
  type ReportedMail,
} from '../../spool/report.ts';
import type { Spool } from '../../spool/spool.ts';
import { reportBackoffMs } from '../backoff.ts';
import { composeReport, headerOf } from './compose-report.ts';
import { isWarned } from './is-warned.ts';
import { submitReport, type MailServer, type Submission } from './submit-report.ts';

export interface ReportOptions {
  server: MailServer;
  perHour: number;
  /** How its mail server is reached. */
  machine?: Machine;
  /** The names of this machine, which reports. */
  names: MachineNames;
}

/** A report with the messages that it is about. */
interface Report {
  report: PendingReport;
  mail: ReportedMail[];
}

/** A report that is being submitted. */
interface InFlight extends Report {
  /** How often in a row the mail server was not there when the submission began. */
  failures: number;
}

/** A report whose submission is over. */
interface Submitted extends InFlight {
  submission: Submission;
}

/**
 * Sends senders the reports about their mail, while drain posts: several at once, and each sender's one after the other.
 * A report is pending in the spool until the mail server has taken it, so a crash repeats at most the reports in flight.
 */
export class SenderReports {
  readonly #spool: Spool;
  readonly #journal: DrainJournal;
  readonly #options: ReportOptions;
  readonly #done: () => void;
  readonly #giveUp: AbortSignal;
  /** The reports that are being submitted, by the sender who gets them. */
  readonly #inFlight = new Map<string, InFlight>();
  /** Reports that were submitted and are not recorded yet. */
  readonly #submitted: Submitted[] = [];
  /** How often in a row the mail server was not there. */
  #failures = 0;
  /** When due reports are looked for again, at the earliest: monotonic. */
  #lookAt = 0;
  #dueAt = Infinity;

  /**
   * `done` is called when a submission is over; then `turn` records it. `giveUp` ends submissions, and what was not
   * taken stays pending.
   */
  constructor(
    { spool, journal, reports }: { spool: Spool; journal: DrainJournal; reports: ReportOptions },
    giveUp: AbortSignal,
    done: () => void,
  ) {
    this.#giveUp = giveUp;
    this.#spool = spool;
    this.#journal = journal;
    this.#options = reports;
    this.#done = done;
  }

  /** Whether a report is being submitted. */
  get submitting(): boolean {
    return this.#inFlight.size > 0;
  }

  /** Whether a report is being submitted, or is not recorded yet. */
  get busy(): boolean {
    return this.submitting || this.#submitted.length > 0;
  }

  /** In how many milliseconds there is something to do; Infinity while only the end of a submission wakes the loop. */
  wantedInMs(now: number): number {
    return Math.max(this.#dueAt - now, this.#lookAt - this.#spool.clock.now());
  }

  /** Records the submissions that are over and, if `begin`, begins others that are due. `now` is observed time. */
  turn(now: number, { begin }: { begin: boolean }): void {
    for (let [ended] = this.#submitted; ended; [ended] = this.#submitted) {
      this.#record(ended, now);
      this.#submitted.shift();
    }
    const room = begin ? limits.reportsAtOnce - this.#inFlight.size : 0;
    const looks = room > 0 && this.#spool.clock.now() >= this.#lookAt;
    const onlyWait = looks && !this.#beginDue(now, room);
    // While much waits for the reports in flight, each look takes milliseconds.
    if (onlyWait && this.submitting) this.#lookAt = this.#spool.clock.now() + limits.reportsLookMs;
    // Without room nothing has to wake the loop. What waits for a sender's report in flight is woken by its end.
    const isFull = this.#inFlight.size >= limits.reportsAtOnce;
    const next = begin && !isFull ? nextReportAt(this.#spool, onlyWait ? now : -1) : undefined;
    this.#dueAt = next ?? Infinity;
  }

  /** Begins the reports that are next, `room` at most, and settles others; false when all that are due have to wait. */
  #beginDue(now: number, room: number): boolean {
    const { settle, next } = this.#plan(now, room);
    if (settle.length > 0) this.#spool.transaction(() => settle.forEach((change) => change()));
    for (const { report, mail } of next) {
      const bytes = composeReport(this.#spool, report, mail, { names: this.#options.names, now });
      const inFlight = { report, mail, failures: this.#failures };
      this.#inFlight.set(report.sender, inFlight);
      void this.#submit(inFlight, bytes);
    }
    return settle.length > 0 || next.length > 0;
  }

  /**
   * The reports that are submitted next, and the changes to others that are due. Looks at limits.reportsLook of them
   * besides those that may wait for a report in flight: posts must go on. Only reads, since SQLite rolls a transaction
   * back in which the disk cannot be read.
   */
  #plan(now: number, room: number): { settle: (() => void)[]; next: Report[] } {
    const settle: (() => void)[] = [];
    const next: Report[] = [];
    const summarised = new Set<string>();
    /** How many reports of each sender come before: in flight, next, or waiting for these. */
    const ahead = new Map([...this.#inFlight.keys()].map((sender) => [sender, 1]));
    const most = limits.reportsLook + this.#inFlight.size * this.#options.perHour;
    for (const report of dueReports(this.#spool, now, most)) {
      if (next.length === room) break;
      const { sender, batched } = report;
      // The batched reports of a sender are settled together.
      if (this.#isInFlight(report) || (batched && summarised.has(sender))) continue;
      if (batched) summarised.add(sender);
      const mail = reportedMail(this.#spool, report);
      const before = ahead.get(sender) ?? 0;
      const settled = this.#settledBy({ report, mail }, before, now);
      if (settled) {
        settle.push(settled);
        continue;
      }
      ahead.set(sender, before + 1);
      if (before === 0) next.push({ report, mail });
    }
    return { settle, next };
  }

  /** The change that makes a submission of this report unnecessary; undefined when it is to be submitted. */
  #settledBy({ report, mail }: Report, before: number, now: number): (() => void) | undefined {
    const spool = this.#spool;
    if (mail.length === 0) return () => dropEmptyReports(spool, report);
    if (!this.#isWanted(report, mail)) return () => dropReport(spool, report);
    const recent = recentReportTimes(spool, report.sender, now);
    if (recent.length + before < this.#options.perHour) return undefined;
    // Law 9: one summary reports all the rest of this hour.
    const dueAt = (recent[0] ?? now - 1) + limits.reportsHourMs + 1;
    return () => batchReport(spool, report, dueAt);
  }

  #isInFlight({ sender, batched, seq, kind }: PendingReport): boolean {
    const report = this.#inFlight.get(sender)?.report;
    if (!report || report.batched !== batched) return false;
    return batched || (report.seq === seq && report.kind === kind);
  }

  /** Senders are not warned of the delay of what a program sent. Batched warnings were looked at before. */
  #isWanted({ kind, batched }: PendingReport, [message]: readonly ReportedMail[]): boolean {
    if (kind === 'failure' || batched || !message) return true;
    const header = headerOf(this.#spool, message);
    return header === undefined || isWarned(header);
  }

  async #submit(inFlight: InFlight, bytes: Buffer): Promise<void> {
    const { sender } = inFlight.report;
    const { server, names, machine = thisMachine } = this.#options;
    const options = { server, name: names.host, machine, signal: this.#giveUp };
    const submission = await submitReport(sender, bytes, options);
    this.#inFlight.delete(sender);
    this.#submitted.push({ ...inFlight, submission });
    this.#done();
  }

  #record({ report, mail, failures, submission: { kind, text } }: Submitted, now: number): void {
    if (kind === 'unavailable') {
      this.#wait(failures, text);
      return;
    }
    if (kind !== 'invalid') this.#serverIsThere();
    const spool = this.#spool;
    const tries = report.tries + (kind === 'unanswered' ? limits.reportUnansweredTries : 1);
    if (kind === 'taken') {
      spool.transaction(() => markReported(spool, report, mail, now));
      this.#journal.noticeSent(report.sender, mail);
    } else if (kind === 'refused' || kind === 'invalid' || tries >= limits.reportTries) {
      spool.transaction(() => markRefused(spool, mail));
      this.#journal.noticeRefused(report.sender, mail, text);
    } else {
      const waitMs = reportBackoffMs(tries);
      spool.transaction(() => {
        // Law 9: the sender may have it, so it is one of those of this hour.
        if (kind === 'unanswered') countReport(spool, report.sender, now);
        postponeReport(spool, report, now + waitMs, tries);
      });
      if (kind === 'unanswered') {
        this.#journal.noticeUnanswered(report.sender, mail, { text, waitMs });
      }
    }
  }

  #serverIsThere(): void {
    if (this.#failures > 0) this.#journal.noticesGoOn(this.#serverName);
    this.#failures = 0;
    this.#lookAt = 0;
  }

  /** The mail server is left alone for a while. What was in flight together has failed once. */
  #wait(failuresBefore: number, text: string): void {
    if (this.#giveUp.aborted || failuresBefore < this.#failures) return;
    this.#lookAt = this.#spool.clock.now() + reportBackoffMs(this.#failures + 1);
    // A server at its limit of connections refuses one beside others; if it is away, the last of them shows that.
    if (this.submitting) return;
    this.#failures += 1;
    if (this.#failures === 1) this.#journal.noticesWait(this.#serverName, text);
  }

  get #serverName(): string {
    return hostPortText(this.#options.server);
  }
}
