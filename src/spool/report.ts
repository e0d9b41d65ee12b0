import { requireWhole } from '../sqlite/open-database.ts';
import { decodeAddress, encodeAddress } from '../mail/address.ts';
import type { Reported, ReportedMessage } from '../mail/delivery-report.ts';
import { limits } from '../limits.ts';
import { addFigures } from './figures.ts';
import { addToHistory } from './history.ts';
import { finish } from './record.ts';
import type { Spool } from './spool.ts';

/**
 * A report that a sender is to get: a row of the table notice, or all rows of the sender that are batched for a summary.
 * It is pending until the mail server of this host has taken it.
 */
export interface PendingReport {
  seq: number;
  kind: ReportedMessage['kind'];
  sender: string;
  /** How often this report alone was put off; see limits.reportUnansweredTries. */
  tries: number;
  /** Whether it is one of those that a summary reports together. */
  batched: boolean;
}

/** A message that a report is about, with the recipients that it is about. */
export interface ReportedMail extends ReportedMessage {
  seq: number;
  size: number;
  renewedAt: number;
  outageMs: number;
  recipients: (Reported & { position: number; remoteMta: string })[];
}

/** The reports that have been due longest, `most` at most. `now` is observed time. */
export function dueReports(spool: Spool, now: number, most: number): PendingReport[] {
  return spool
    .sql<Omit<PendingReport, 'sender' | 'batched'> & { sender: Buffer; batched: number }>(
      `SELECT message AS seq, kind, sender, tries, collected AS batched FROM notice
       WHERE due_at <= ? ORDER BY due_at, message LIMIT ?`,
    )
    .all(now, most)
    .map(requireWhole)
    .map(({ sender, batched, ...row }) => {
      return { ...row, sender: decodeAddress(sender), batched: batched === 1 };
    });
}

/** When the first report is due that is due after `after`, in observed time; undefined when none is pending. */
export function nextReportAt(spool: Spool, after: number): number | undefined {
  const row = spool
    .sql<{ dueAt: number }>(
      'SELECT due_at AS dueAt FROM notice WHERE due_at > ? ORDER BY due_at LIMIT 1',
    )
    .get(after);
  return row?.dueAt;
}

/** When the sender got reports in the hour before `now`, oldest first. */
export function recentReportTimes(spool: Spool, sender: string, now: number): number[] {
  return spool
    .sql<{ at: number }>(
      'SELECT at FROM told WHERE sender = :sender AND at BETWEEN :since AND :now ORDER BY at',
    )
    .all({ sender: encodeAddress(sender), since: now - limits.reportsHourMs, now })
    .map(({ at }) => at);
}

/**
 * What a report is about: its message, or all messages that are batched for the sender, up to limits.summaryRecipients
 * recipients. Empty when there is nothing left to report.
 */
export function reportedMail(spool: Spool, report: PendingReport): ReportedMail[] {
  const rows = spool
    .sql<
      Omit<ReportedMail, 'recipients'> & {
        position: number;
        address: Buffer;
        status: string;
        reason: string;
        remoteMta: string;
      }
    >(
      `SELECT message.seq, notice.kind, message.id, message.exim_id AS eximId, message.size,
         message.queued_at AS queuedAt, message.renewed_at AS renewedAt,
         message.outage_ms AS outageMs, position, address, status, reason, ifnull(remote_mta, '') AS remoteMta
       FROM notice JOIN message ON message.seq = notice.message
         JOIN recipient ON recipient.message = message.seq
       WHERE ${rowsOf(report)} AND ${IS_REPORTED}
       ORDER BY notice.message, notice.kind, position LIMIT :most`,
    )
    .all({
      most: report.batched ? limits.summaryRecipients : limits.handOverRecipients,
      ...keyOf(report),
    })
    .map(requireWhole);
  const mail: ReportedMail[] = [];
  for (const { position, address, status, reason, remoteMta, ...message } of rows) {
    const last = mail.at(-1);
    const same = last?.seq === message.seq && last.kind === message.kind;
    const recipients = same ? last.recipients : [];
    if (!same) mail.push({ ...message, recipients });
    recipients.push({ position, address: decodeAddress(address), status, reason, remoteMta });
  }
  return mail;
}

/** Whether a failure of the message is still to be reported to its sender. */
export function hasPendingReport(spool: Spool, seq: number): boolean {
  const pending = spool.sql(`SELECT 1 FROM notice WHERE message = ? AND kind = 'failure'`);
  return pending.get(seq) !== undefined;
}

/** The mail server has the report: the failed recipients are bounced, and the report is not pending any more. */
export function markReported(
  spool: Spool,
  report: PendingReport,
  mail: readonly ReportedMail[],
  now: number,
): void {
  for (const { seq, kind, recipients } of mail) {
    for (const { position } of kind === 'failure' ? recipients : []) {
      spool
        .sql(
          `UPDATE recipient SET state = 'bounced'
           WHERE message = ? AND position = ? AND state = 'failed'`,
        )
        .run(seq, position);
    }
    reopenOrDelete(spool, seq, kind, 0);
    if (kind === 'failure') finish(spool, seq, now);
    addToHistory(spool, { seq, what: kind === 'failure' ? 'reported' : 'warned' });
  }
  countReport(spool, report.sender, now);
  const label = report.batched ? 'summary' : report.kind;
  addFigures(spool, [{ name: 'reports', label, value: 1 }]);
}

/** The sender has got a report, or may have: it counts for limits.reportsPerHour. */
export function countReport(spool: Spool, sender: string, now: number): void {
  spool.sql('INSERT INTO told (sender, at) VALUES (?, ?)').run(encodeAddress(sender), now);
  spool.sql('DELETE FROM told WHERE at < ?').run(now - limits.reportsHourMs);
}

/** The mail server does not take the report, which is not pending any more. What failed stays failed. */
export function markRefused(spool: Spool, mail: readonly ReportedMail[]): void {
  for (const { seq, kind, recipients } of mail) reopenOrDelete(spool, seq, kind, recipients.length);
}

/** The report is not pending any more, whatever it is about. */
export function dropReport(spool: Spool, report: PendingReport): void {
  spool.sql(`DELETE FROM notice WHERE ${rowsOf(report)}`).run(keyOf(report));
}

/** Drops the report, and those batched with it, where there is nothing left to report. */
export function dropEmptyReports(spool: Spool, report: PendingReport): void {
  spool
    .sql(
      `DELETE FROM notice WHERE ${rowsOf(report)}
         AND NOT EXISTS (SELECT 1 FROM recipient WHERE recipient.message = notice.message AND ${IS_REPORTED})`,
    )
    .run(keyOf(report));
}

/** The report, or all that are batched together, are due later, and have used up so many tries. */
export function postponeReport(
  spool: Spool,
  report: PendingReport,
  dueAt: number,
  tries: number,
): void {
  spool
    .sql(`UPDATE notice SET due_at = :dueAt, tries = :tries WHERE ${rowsOf(report)}`)
    .run({ dueAt, tries, ...keyOf(report) });
}

/** A summary that is due at `dueAt` replaces this report; all that is batched for the sender is due with it. */
export function batchReport(spool: Spool, report: PendingReport, dueAt: number): void {
  spool
    .sql(`UPDATE notice SET collected = 1, due_at = :dueAt WHERE ${rowsOf(report)}`)
    .run({ dueAt, ...keyOf(report) });
}

/** Deletes the report; but it is due again when more recipients have failed than `reported`: some failed meanwhile. */
function reopenOrDelete(
  spool: Spool,
  seq: number,
  kind: PendingReport['kind'],
  reported: number,
): void {
  const { failed = 0 } =
    spool
      .sql<{ failed: number }>(
        `SELECT count(*) AS failed FROM recipient WHERE message = ? AND state = 'failed'`,
      )
      .get(seq) ?? {};
  spool
    .sql(
      kind === 'failure' && failed > reported
        ? 'UPDATE notice SET due_at = 0, collected = 0 WHERE message = ? AND kind = ?'
        : 'DELETE FROM notice WHERE message = ? AND kind = ?',
    )
    .run(seq, kind);
}

/** The rows of a report: its own, or all that are batched with it. */
function rowsOf({ batched }: PendingReport): string {
  return batched
    ? 'notice.sender = :sender AND notice.collected = 1'
    : 'notice.message = :seq AND notice.kind = :kind';
}

function keyOf({ batched, sender, seq, kind }: PendingReport): Record<string, unknown> {
  return batched ? { sender: encodeAddress(sender) } : { seq, kind };
}

/** Whether a report is about a recipient. */
const IS_REPORTED = `recipient.status IS NOT NULL
  AND recipient.state = iif(notice.kind = 'failure', 'failed', 'pending')`;
