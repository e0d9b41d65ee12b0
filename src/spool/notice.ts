import { requireWhole } from '../sqlite/open-database.ts';
import { decodeAddress, encodeAddress } from '../mail/address.ts';
import { limits } from '../limits.ts';
import { addToHistory } from './history.ts';
import { finish } from './record.ts';
import type { Spool } from './spool.ts';

/** What is owed to the sender of a message, or of several when it is collected for a summary. */
export interface Notice {
  seq: number;
  kind: 'failure' | 'delay';
  sender: string;
  /** How often it was put off by itself; see limits.noticeUnansweredTries. */
  tries: number;
  collected: boolean;
}

/** A message that a notice tells of, with the recipients that it tells of. */
export interface NoticeSubject {
  seq: number;
  kind: Notice['kind'];
  id: string;
  eximId: string;
  size: number;
  /** For people: milliseconds since 1970. */
  queuedAt: number;
  renewedAt: number;
  outageMs: number;
  recipients: {
    position: number;
    address: string;
    status: string;
    reason: string;
    /** Whose SMTP reply the reason is; empty when that is not known. */
    remoteMta: string;
  }[];
}

/** The notices that have been due longest, `most` at most. */
export function dueNotices(spool: Spool, now: number, most: number): Notice[] {
  return spool
    .sql<Omit<Notice, 'sender' | 'collected'> & { sender: Buffer; collected: number }>(
      `SELECT message AS seq, kind, sender, tries, collected FROM notice
       WHERE due_at <= ? ORDER BY due_at, message LIMIT ?`,
    )
    .all(now, most)
    .map(requireWhole)
    .map(({ sender, collected, ...row }) => {
      return { ...row, sender: decodeAddress(sender), collected: collected === 1 };
    });
}

/** When the first notice is due that is due after `after`, in observed time; undefined when none is owed. */
export function nextNoticeAt(spool: Spool, after: number): number | undefined {
  const row = spool
    .sql<{ dueAt: number }>(
      'SELECT due_at AS dueAt FROM notice WHERE due_at > ? ORDER BY due_at LIMIT 1',
    )
    .get(after);
  return row?.dueAt;
}

/** When the sender was told something in the hour before `now`, oldest first. */
export function toldTimes(spool: Spool, sender: string, now: number): number[] {
  return spool
    .sql<{ at: number }>(
      'SELECT at FROM told WHERE sender = :sender AND at BETWEEN :since AND :now ORDER BY at',
    )
    .all({ sender: encodeAddress(sender), since: now - limits.noticesHourMs, now })
    .map(({ at }) => at);
}

/**
 * What a notice tells: of its message, or of all that is collected for the sender, up to
 * limits.summaryRecipients. Empty when there is nothing to be told any more.
 */
export function noticeSubjects(spool: Spool, notice: Notice): NoticeSubject[] {
  const rows = spool
    .sql<
      Omit<NoticeSubject, 'recipients'> & {
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
       WHERE ${rowsOf(notice)} AND ${IS_TOLD}
       ORDER BY notice.message, notice.kind, position LIMIT :most`,
    )
    .all({
      most: notice.collected ? limits.summaryRecipients : limits.handOverRecipients,
      ...keyOf(notice),
    })
    .map(requireWhole);
  const subjects: NoticeSubject[] = [];
  for (const { position, address, status, reason, remoteMta, ...message } of rows) {
    const last = subjects.at(-1);
    const same = last?.seq === message.seq && last.kind === message.kind;
    const subject = same ? last : { ...message, recipients: [] };
    if (!same) subjects.push(subject);
    const told = { position, address: decodeAddress(address), status, reason, remoteMta };
    subject.recipients.push(told);
  }
  return subjects;
}

/** Whether a failure of the message is still to be reported to its sender. */
export function owesReport(spool: Spool, seq: number): boolean {
  const owed = spool.sql(`SELECT 1 FROM notice WHERE message = ? AND kind = 'failure'`);
  return owed.get(seq) !== undefined;
}

/** The sender was told: its failed recipients are bounced, and the notice is owed no more. */
export function noticeTold(
  spool: Spool,
  notice: Notice,
  subjects: readonly NoticeSubject[],
  now: number,
): void {
  for (const { seq, kind, recipients } of subjects) {
    for (const { position } of kind === 'failure' ? recipients : []) {
      spool
        .sql(
          `UPDATE recipient SET state = 'bounced'
           WHERE message = ? AND position = ? AND state = 'failed'`,
        )
        .run(seq, position);
    }
    owe(spool, seq, kind, 0);
    if (kind === 'failure') finish(spool, seq, now);
    addToHistory(spool, seq, { what: kind === 'failure' ? 'reported' : 'warned' });
  }
  countNotice(spool, notice.sender, now);
}

/** The sender was told something, or may have been: it counts for limits.noticesPerHour. */
export function countNotice(spool: Spool, sender: string, now: number): void {
  spool.sql('INSERT INTO told (sender, at) VALUES (?, ?)').run(encodeAddress(sender), now);
  spool.sql('DELETE FROM told WHERE at < ?').run(now - limits.noticesHourMs);
}

/** Nobody takes what was to be told of these, and it is owed no more. What failed stays failed. */
export function noticeRefused(spool: Spool, subjects: readonly NoticeSubject[]): void {
  for (const { seq, kind, recipients } of subjects) owe(spool, seq, kind, recipients.length);
}

/** The notice is owed no more, whatever there is to tell. */
export function dropNotice(spool: Spool, notice: Notice): void {
  spool.sql(`DELETE FROM notice WHERE ${rowsOf(notice)}`).run(keyOf(notice));
}

/** Drops the notice, and those collected with it, where there is nothing to be told any more. */
export function dropEmptyNotices(spool: Spool, notice: Notice): void {
  spool
    .sql(
      `DELETE FROM notice WHERE ${rowsOf(notice)}
         AND NOT EXISTS (SELECT 1 FROM recipient WHERE recipient.message = notice.message AND ${IS_TOLD})`,
    )
    .run(keyOf(notice));
}

/** The notice, or all that are collected with it, are due later, and have used up so many tries. */
export function postponeNotice(spool: Spool, notice: Notice, dueAt: number, tries: number): void {
  spool
    .sql(`UPDATE notice SET due_at = :dueAt, tries = :tries WHERE ${rowsOf(notice)}`)
    .run({ dueAt, tries, ...keyOf(notice) });
}

/** A summary tells, at `dueAt`, what this notice was to tell; all that is collected is due with it. */
export function collectNotice(spool: Spool, notice: Notice, dueAt: number): void {
  spool
    .sql(`UPDATE notice SET collected = 1, due_at = :dueAt WHERE ${rowsOf(notice)}`)
    .run({ dueAt, ...keyOf(notice) });
}

/** Owed no more; but due again when more recipients are failed than `told`: some failed meanwhile. */
function owe(spool: Spool, seq: number, kind: Notice['kind'], told: number): void {
  const { failed = 0 } =
    spool
      .sql<{ failed: number }>(
        `SELECT count(*) AS failed FROM recipient WHERE message = ? AND state = 'failed'`,
      )
      .get(seq) ?? {};
  spool
    .sql(
      kind === 'failure' && failed > told
        ? 'UPDATE notice SET due_at = 0, collected = 0 WHERE message = ? AND kind = ?'
        : 'DELETE FROM notice WHERE message = ? AND kind = ?',
    )
    .run(seq, kind);
}

/** The rows of a notice: its own, or of all that are collected with it. */
function rowsOf({ collected }: Notice): string {
  return collected
    ? 'notice.sender = :sender AND notice.collected = 1'
    : 'notice.message = :seq AND notice.kind = :kind';
}

function keyOf({ collected, sender, seq, kind }: Notice): Record<string, unknown> {
  return collected ? { sender: encodeAddress(sender) } : { seq, kind };
}

/** Whether a notice tells of a recipient. */
const IS_TOLD = `recipient.status IS NOT NULL
  AND recipient.state = iif(notice.kind = 'failure', 'failed', 'pending')`;
