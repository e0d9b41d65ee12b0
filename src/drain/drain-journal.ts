import { countOf } from '../host/count-of.ts';
import { showDuration, showWait } from '../host/duration.ts';
import { fsckRemedy } from '../sqlite/fsck-remedy.ts';
import { priority } from '../host/systemd/journal-sink.ts';
import { Journal } from '../host/journal.ts';
import type { KeyFault } from '../host/key-faults.ts';
import { logGrownRemedy, logGrownText } from '../sqlite/watch-log.ts';
import { recipientsText, type JournalRecipient } from '../host/recipients-text.ts';
import { addressList, addressText } from '../mail/address-list.ts';
import { statuses } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import {
  kindsOf,
  mailFields,
  nameOf,
  reportFields,
  recipientsOf,
  type JournalMail,
  type ReportedMail,
} from './journal-mail.ts';

/** What drain writes into the journal. */
export class DrainJournal extends Journal {
  /**
   * An attempt that brought verdicts, or trouble of this message alone. Due: when the rest is next, in milliseconds
   * since 1970, as `now` is.
   */
  attempted(
    mail: JournalMail,
    attempt: number,
    recipients: readonly JournalRecipient[],
    dueAt: number,
    now: number,
  ): void {
    const waits = recipients.some(({ state }) => state === 'pending');
    const failed = recipients.some(({ state }) => state === 'failed');
    const next = waits ? `; next try ${showWait(dueAt - now)}` : '';
    // What it is about: of several values of a field, journalctl -x shows any one.
    const about = failed ? 'failed' : waits ? 'pending' : 'sent';
    const statuses = recipients.flatMap(({ state, status }) => (state === about ? [status] : []));
    this.write(failed ? 'failed' : waits ? 'deferred' : 'sent', {
      text: `${nameOf(mail)}: attempt ${attempt}: ${recipientsText(recipients)}${next}`,
      priority: priority.info,
      fields: {
        ...mailFields(mail),
        MAIL_RECIPIENT: recipients.map(({ address }) => address),
        MAIL_STATUS: [...new Set(statuses)],
        MAIL_ATTEMPT: attempt,
        MAIL_DUE: waits ? new Date(dueAt).toISOString() : undefined,
      },
    });
  }

  /** A post that met trouble of the endpoint: the message waits with the queue, for `waitMs` at least. */
  postponed(
    mail: JournalMail,
    attempt: number,
    recipients: readonly string[],
    status: string,
    text: string,
    waitMs: number | undefined,
  ): void {
    const next =
      waitMs === undefined ? '' : `; next try when the proxy is back, asked ${showWait(waitMs)}`;
    this.write('postponed', {
      text:
        `${nameOf(mail)}: attempt ${attempt} (does not count): ${addressList(recipients)} not sent, ` +
        `stays in the queue (${status} ${text})${next}`,
      priority: priority.info,
      fields: {
        ...mailFields(mail),
        MAIL_RECIPIENT: recipients,
        MAIL_STATUS: status,
        MAIL_ATTEMPT: attempt,
      },
    });
  }

  /** The proxy has the message and is still sending it to these recipients: it is asked again. */
  inProgress(mail: JournalMail, attempt: number, recipients: readonly string[]): void {
    this.write('in_progress', {
      text:
        `${nameOf(mail)}: attempt ${attempt}: the proxy is still sending it to ${addressList(recipients)}, ` +
        'and is asked again until that is decided',
      priority: priority.info,
      fields: { ...mailFields(mail), MAIL_RECIPIENT: recipients, MAIL_ATTEMPT: attempt },
    });
  }

  /** The proxy asked for fewer posts, which is no outage: `limit` may be in flight now. */
  endpointSlower(url: string, text: string, limit: number): void {
    this.write('endpoint_slower', {
      text: `the proxy ${url}: ${text}; at most ${countOf(limit, 'post')} at once for now`,
      priority: priority.info,
    });
  }

  /** The endpoint failed, and is left alone for a while; `queued` messages wait for it. */
  endpointDown(url: string, text: string, failures: number, waitMs: number, queued: number): void {
    this.write('endpoint_down', {
      text:
        `the proxy ${url} is down: ${text}; ${countOf(queued, 'message')} queued, ` +
        `try ${failures} failed, next try ${showWait(waitMs)}`,
      priority: priority.warning,
      fields: { MAIL_ATTEMPT: failures },
    });
  }

  /** The endpoint is back after an outage. */
  endpointUp(url: string, downMs: number, queued: number): void {
    this.write('endpoint_up', {
      text: `the proxy ${url} is back after ${showDuration(downMs)}; ${countOf(queued, 'message')} queued`,
      priority: priority.notice,
    });
  }

  /** Trouble that an operator has to end. */
  operatorFault(text: string, remedy: string): void {
    this.write('operator_fault', {
      text: `attention: ${text}. No mail is lost, it waits. To do: ${remedy}`,
      priority: priority.error,
    });
  }

  drainStarted(folder: string, url: string, queued: number, recovered: number): void {
    const again = recovered > 0 ? `; ${recovered} being sent when drain last died` : '';
    this.write('drain_started', {
      text: `drain of ${folder} to ${url} started; ${countOf(queued, 'message')} queued${again}`,
      priority: priority.info,
    });
  }

  /** The key works, and can be guessed or be read by everybody; told at each start. */
  keyUnsafe({ text, todo }: KeyFault): void {
    this.write('key_unsafe', {
      text: `attention: ${text}. To do: ${todo}`,
      priority: priority.warning,
    });
  }

  drainStopped(folder: string, queued: number): void {
    this.write('drain_stopped', {
      text: `drain of ${folder} stopped; ${countOf(queued, 'message')} queued`,
      priority: priority.info,
    });
  }

  /** The spool cannot be read or written: nothing is sent, since it could not be recorded. */
  spoolTrouble(folder: string, text: string, waitMs: number): void {
    this.write('spool_trouble', {
      text: `the spool ${folder} cannot be written, so nothing is sent: ${text}; next try ${showWait(waitMs)}`,
      priority: priority.error,
    });
  }

  /** A message cannot be sent, since the spool has lost a part of it; it is held, and the others go on. */
  messageDamaged(mail: JournalMail, text: string): void {
    this.write('message_damaged', {
      text: `attention: ${nameOf(mail)} is damaged and held, others go on: ${text}. To do: ${fsckRemedy}`,
      priority: priority.error,
      fields: mailFields(mail),
    });
  }

  /** The server's answer leaves open whether it sent the message, which is held: a person has to find out. */
  maybeSent(
    mail: JournalMail,
    attempt: number,
    undecided: readonly string[],
    { text, remedy }: { text: string; remedy?: string },
  ): void {
    this.write('maybe_sent', {
      text:
        `attention: ${nameOf(mail)}: attempt ${attempt}: ${text}. It is held for ${addressList(undecided)}, and not ` +
        `posted again by itself. To do: ${remedy}. Then, if it arrived, queue delete; if not, queue release, which sends it`,
      priority: priority.error,
      fields: {
        ...mailFields(mail),
        MAIL_RECIPIENT: undecided,
        MAIL_STATUS: statuses.unknown,
        MAIL_ATTEMPT: attempt,
      },
    });
  }

  /** What a repair of the spool found, lost or came to: a sentence each. */
  spoolRepaired(text: string): void {
    this.write('spool_repaired', { text, priority: priority.error });
  }

  /**
   * Others find another spool by its name, or none: drain ends, and is started again on what is there. `rescued`
   * counts the messages that were in a removed log alone and are saved, or says why none are.
   */
  spoolReplaced(text: string, rescued: number | Error): void {
    const saved =
      rescued instanceof Error
        ? `; what was taken just before and is only in the removed log is lost: ${rescued.message}`
        : rescued > 0
          ? `; ${countOf(rescued, 'message')} that only the removed log has are saved`
          : '';
    this.write('spool_replaced', {
      text: `attention: ${text}: drain ends, so that it starts anew on the spool that others find now${saved}`,
      priority: priority.error,
    });
  }

  /** Messages that an earlier drain saved from a removed log are in the queue again. */
  spoolRescued(folder: string, messages: number): void {
    this.write('spool_rescued', {
      text: `${countOf(messages, 'message')} that a removed log of the spool ${folder} had are queued again`,
      priority: priority.notice,
    });
  }

  /** SQLite passes over the damaged end of a log: only who opens the file first can see it. */
  spoolLogCut(folder: string): void {
    this.write('spool_log_cut', {
      text:
        `attention: the write-ahead log of the spool ${folder} has lost its end: mail that was taken last may be ` +
        "lost, and what was sent last may be sent again. To do: look for a failing disk (dmesg), and in Exim's log " +
        'for what it handed over just before',
      priority: priority.error,
    });
  }

  /** The write-ahead log grows with every commit, since somebody keeps it from being used anew. */
  spoolLogGrown(folder: string, bytes: number, holders: readonly string[]): void {
    this.write('spool_log_grown', {
      text: `attention: ${logGrownText(`the spool ${folder}`, bytes, holders)}. To do: ${logGrownRemedy}`,
      priority: priority.error,
    });
  }

  /** It is used anew again. */
  spoolLogShrunk(folder: string): void {
    this.write('spool_log_shrunk', {
      text: `the write-ahead log of the spool ${folder} is small again`,
      priority: priority.notice,
    });
  }

  /** The spool can be worked on again. */
  spoolUsable(folder: string): void {
    this.write('spool_usable', {
      text: `the spool ${folder} can be written again; sending goes on`,
      priority: priority.notice,
    });
  }

  /** Drain is not woken by new mail and has to look for it. */
  spoolUnwatched(folder: string, text: string, everyMs: number): void {
    this.write('spool_trouble', {
      text:
        `the spool ${folder} cannot be watched (${text}): new mail is looked for every ` +
        `${showDuration(everyMs)}; raise fs.inotify.max_user_watches or max_user_instances`,
      priority: priority.warning,
    });
  }

  /** A message with the null sender failed: its sender is told nothing, ever (law 9). */
  nobodyTold(mail: JournalMail, recipients: readonly string[]): void {
    this.write('nobody_told', {
      text:
        `${nameOf(mail)}: it has the null sender, so nobody is told that ${addressList(recipients)} ` +
        `failed; it can be looked at for ${showDuration(limits.failedBodyMs)}, and is deleted then`,
      priority: priority.notice,
      fields: { ...mailFields(mail), MAIL_RECIPIENT: recipients },
    });
  }

  /** The local mail server has a report or warning for the sender of these messages. */
  senderTold(sender: string, messages: readonly ReportedMail[]): void {
    this.write('notice_sent', {
      text: `${addressText(sender)} was told of ${addressList(recipientsOf(messages))}: ${kindsOf(messages).join(' and ')}`,
      priority: priority.info,
      fields: reportFields(messages),
    });
  }

  /** The local mail server did not answer to the whole of a notice: it may have it, and gets it again. */
  noticeUnanswered(
    sender: string,
    messages: readonly ReportedMail[],
    text: string,
    waitMs: number,
  ): void {
    this.write('notice_unanswered', {
      text:
        `${addressText(sender)} may have been told of ${addressList(recipientsOf(messages))}: the mail server of this host got the ` +
        `whole report and did not answer (${text}); it gets the same report again ${showWait(waitMs)}`,
      priority: priority.warning,
      fields: reportFields(messages),
    });
  }

  /** The local mail server does not take a notice: what failed stays failed, and nobody is told any more. */
  noticeRefused(sender: string, messages: readonly ReportedMail[], text: string): void {
    const becomes = {
      failure: `what failed can be looked at for ${showDuration(limits.failedBodyMs)}, and is deleted then`,
      delay: 'what is delayed is still tried',
    };
    this.write('notice_refused', {
      text:
        `${addressText(sender)} cannot be told of ${addressList(recipientsOf(messages))}, since the mail server of this host ` +
        `does not take the report: ${[text, ...kindsOf(messages).map((kind) => becomes[kind])].join('; ')}`,
      priority: priority.warning,
      fields: reportFields(messages),
    });
  }

  /** No notice can be handed over; all that are owed wait. */
  noticesWait(server: string, text: string): void {
    this.write('notices_wait', {
      text: `reports to senders wait, since the mail server ${server} takes none: ${text}`,
      priority: priority.warning,
    });
  }

  /** Notices can be handed over again. */
  noticesGoOn(server: string): void {
    this.write('notices_go_on', {
      text: `the mail server ${server} takes reports to senders again`,
      priority: priority.notice,
    });
  }
}
