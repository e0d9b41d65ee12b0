import { countOf } from '../host/count-of.ts';
import { showDuration, showWait } from '../host/duration.ts';
import { openJournal, type Journal, type JournalEvents } from '../host/journal.ts';
import { keyFaultText, type KeyFault } from '../host/key-faults.ts';
import { recipientsText, type JournalRecipient } from '../host/recipients-text.ts';
import { priorities, type Sink } from '../host/systemd/journal-sink.ts';
import { limits } from '../limits.ts';
import { addressList, addressText } from '../mail/address-list.ts';
import { statuses } from '../mail/enhanced-status.ts';
import { fallbackText, type Fallback } from '../spool/endpoint.ts';
import { fsckRemedy } from '../spool/with-spool.ts';
import { logGrownHelp, logGrownRemedy, logGrownText } from '../sqlite/watch-log.ts';
import { metricsEvents } from '../watch/metrics-events.ts';
import {
  kindsOf,
  mailFields,
  nameOf,
  recipientsOf,
  reportFields,
  type JournalMail,
  type ReportedMail,
} from './journal-mail.ts';

/** What drain writes into the journal. */
export type DrainJournal = Journal<typeof drainEvents>;

export function drainJournal(sink?: Sink): DrainJournal {
  return openJournal(drainEvents, { sink });
}

/** An attempt that brought verdicts, or trouble of this message alone. */
export interface JournalAttempt {
  attempt: number;
  recipients: readonly JournalRecipient[];
  /** When the pending recipients are tried next, in milliseconds since 1970, as `now` is. */
  dueAt: number;
  now: number;
}

/** The event of an attempt. */
export function attemptEvent(
  recipients: readonly JournalRecipient[],
): 'failed' | 'deferred' | 'sent' {
  if (recipients.some(({ state }) => state === 'failed')) return 'failed';
  return recipients.some(({ state }) => state === 'pending') ? 'deferred' : 'sent';
}

const HOST = 'appengine-mailer(8)';
const QUEUE = 'appengine-mailer-queue(8)';

export const drainEvents = {
  sent: {
    id: 'fc00f2ad7866ff2d2878619c5b123e67',
    priority: priorities.info,
    entry: attempted,
    subject: 'Message @MAIL_ID@ was sent',
    manual: HOST,
    help: `
      The proxy took message @MAIL_ID@ (Exim id @EXIM_ID@) for all recipients that were still pending, at
      attempt @MAIL_ATTEMPT@. Nothing has to be done.`,
  },
  deferred: {
    id: '4d9e9eae1971282e4b9d9e6502cb1ed7',
    priority: priorities.info,
    entry: attempted,
    subject: 'Message @MAIL_ID@ waits and will be tried again',
    manual: QUEUE,
    help: `
      Attempt @MAIL_ATTEMPT@ to send message @MAIL_ID@ (Exim id @EXIM_ID@) met temporary trouble of this
      message or of some of its recipients: @MAIL_STATUS@. The line gives the reason. Other mail goes on.
      The next attempt is at @MAIL_DUE@. The waits grow from 30 seconds to 30 minutes. After 5 days,
      outages of the proxy not counted, the recipients fail and the sender gets a report.

      Nothing has to be done. To see all of it: appengine-mailer queue explain @MAIL_ID@
      To try at once, when the cause is gone:   appengine-mailer queue retry @MAIL_ID@`,
  },
  failed: {
    id: 'cea56a7efcf8e9ca97c7d5c2f41552d7',
    priority: priorities.info,
    entry: attempted,
    subject: 'Message @MAIL_ID@ failed for at least one recipient',
    manual: QUEUE,
    help: `
      At attempt @MAIL_ATTEMPT@ of message @MAIL_ID@ (Exim id @EXIM_ID@) recipients were refused for good,
      or their lifetime was over: @MAIL_STATUS@. The line names the recipients and the reasons. The sender
      gets a report, unless the message is a report itself. The message is kept for 5 days. Nothing has
      to be done.

      To find a recipient that the line does not name: journalctl MAIL_RECIPIENT=ADDRESS
      To see all of it:                    appengine-mailer queue explain @MAIL_ID@
      To send it again once that can work: appengine-mailer queue retry @MAIL_ID@`,
  },
  postponed: {
    id: '06015cf420667fdc60b37360792252c3',
    priority: priorities.info,
    /** A post that met trouble of the endpoint: the message waits with the queue, for `waitMs` at least. */
    entry: (
      mail: JournalMail,
      recipients: readonly string[],
      trouble: { attempt: number; status: string; text: string; waitMs: number | undefined },
    ) => {
      const { attempt, status, text, waitMs } = trouble;
      const next =
        waitMs === undefined
          ? ''
          : `; drain asks the proxy ${showWait(waitMs)}, and sends when it is back`;
      return {
        text:
          `${nameOf(mail)}: attempt ${attempt} (does not count): ${addressList(recipients)} not sent, ` +
          `stays in the queue (${status} ${text})${next}`,
        fields: {
          ...mailFields(mail),
          MAIL_RECIPIENT: recipients,
          MAIL_STATUS: status,
          MAIL_ATTEMPT: attempt,
        },
      };
    },
    subject: 'Message @MAIL_ID@ stays in the queue while the proxy is down',
    manual: HOST,
    help: `
      Message @MAIL_ID@ (Exim id @EXIM_ID@) could not be posted (@MAIL_STATUS@). This is not the fault of
      the message, so the attempt does not count. The message is sent when the proxy is back. The entries
      about the proxy say what is wrong with it.`,
  },
  inProgress: {
    id: '8aebbb9c7514c3ebf276f4060c63f56f',
    priority: priorities.info,
    /** The proxy has the message and is still sending it to these recipients: it is asked again. */
    entry: (mail: JournalMail, attempt: number, recipients: readonly string[]) => ({
      text:
        `${nameOf(mail)}: attempt ${attempt}: the proxy is still sending it to ${addressList(recipients)}, ` +
        'and is asked again until the result is known',
      fields: { ...mailFields(mail), MAIL_RECIPIENT: recipients, MAIL_ATTEMPT: attempt },
    }),
    subject: 'The proxy is still sending message @MAIL_ID@',
    manual: HOST,
    help: `
      The relay behind the proxy takes a long time for message @MAIL_ID@ (Exim id @EXIM_ID@). The proxy
      has the message and goes on with it. This host asks again until the result is known. The message is
      not sent a second time, nothing is counted against it, and other mail goes on. Nothing has to be done.`,
  },
  longInProgress: {
    id: '6d699635acb04e9aaaf8963681fc1d92',
    priority: priorities.warning,
    /** The proxy says for `ms` that it is sending the message to these recipients; told again every limits.faultRepeatMs. */
    entry: (mail: JournalMail, recipients: readonly string[], url: string, ms: number) => ({
      text:
        `${nameOf(mail)}: for ${showDuration(ms)} the proxy ${url} has been sending it to ${addressList(recipients)}; ` +
        'the proxy is asked again and again. Its journal says what its relay does',
      fields: { ...mailFields(mail), MAIL_RECIPIENT: recipients },
    }),
    subject: 'The proxy has been sending message @MAIL_ID@ for a long time',
    manual: HOST,
    help: `
      The proxy has answered for an hour or longer that it is still sending message @MAIL_ID@ (Exim id
      @EXIM_ID@). A relay that takes so long is rare, and the proxy gives up by itself. This host keeps asking: the
      message is neither lost nor sent a second time. Look at the journal of the proxy, and at its relay. If the
      proxy hangs, restart it: it lists the recipients as unknown then, and they are sent again.`,
  },
  endpointSlower: {
    id: 'c2b2e174626811f9ccae712476a47b22',
    priority: priorities.info,
    /** The proxy asked for fewer posts, which is no outage: `limit` may be in flight now. */
    entry: (url: string, text: string, limit: number) => ({
      text: `the proxy ${url}: ${text}; at most ${countOf(limit, 'post')} at once for now`,
    }),
    subject: 'The proxy asks for fewer posts',
    manual: HOST,
    help: `
      More mail comes than the proxy, or the relay behind it, can take now; or the key of this host has
      used up its rate (--rate). This host posts fewer messages at once, and more again with every post
      that passes. No mail is lost, and no attempt counts. Nothing has to be done, unless the queue grows
      all day: then the relay is too slow for this mail, or the rate is too low.`,
  },
  endpointDown: {
    id: 'bb12ad4f696beee6c4fcf596bd9e4f00',
    priority: priorities.warning,
    /** No proxy answers: the last that was tried failed so many times in a row; `queued` messages wait. */
    entry: (
      urls: readonly string[],
      {
        text,
        failures,
        waitMs,
        queued,
      }: { text: string; failures: number; waitMs: number; queued: number },
    ) => ({
      text:
        `${downText(urls)}: ${text}; ${countOf(queued, 'message')} queued, ` +
        `try ${failures} failed, next try ${showWait(waitMs)}`,
      fields: { MAIL_ATTEMPT: failures },
    }),
    subject: 'The proxy cannot take mail',
    manual: HOST,
    help: `
      The proxy of GMAIL_PROXY_URL was tried @MAIL_ATTEMPT@ times in a row without success, and if several
      are named, none of them answers. The line says why. All mail waits in the queue. The proxy is asked
      again after 1 second, 2 seconds, 4 seconds and so on, then once a minute, and the queue is sent when
      it answers. An outage does not count against any message.

      Is the proxy running, and can this host reach it? To find out: appengine-mailer check`,
  },
  endpointUp: {
    id: '60222abbc38fa6a074ec6cafd3adbc88',
    priority: priorities.notice,
    /** The endpoint is back after an outage. */
    entry: (url: string, downMs: number, queued: number) => ({
      text: `the proxy ${url} is back after ${showDuration(downMs)}; ${countOf(queued, 'message')} queued`,
    }),
    subject: 'The proxy takes mail again',
    manual: HOST,
    help: `
      A post passed after an outage. The queued messages are being sent, the oldest first. Nothing has to
      be done.`,
  },
  fallback: {
    id: '2dfac591030d5adb2c87a78e171362e3',
    priority: priorities.warning,
    /** Another proxy than the first, or another address of its name, takes the mail. */
    entry: (fallback: Omit<Fallback, 'since'>) => ({ text: fallbackText(fallback) }),
    subject: 'Mail goes to another proxy or address than the first',
    manual: HOST,
    help: `
      GMAIL_PROXY_URL names several proxies, or the name in it has several addresses, and the first one
      does not take mail. The line says why, and which proxy, or which address, takes the mail meanwhile.
      The first proxy is asked again about once a minute, and used again when it answers; new
      connections try the first address again, after 10 minutes at the latest.

      A message that was posted to a proxy without an answer waits for this proxy, or for one that has
      the same ledger: another one could send it a second time. To see what is wrong:
      appengine-mailer check`,
  },
  fallbackOver: {
    id: 'b723d500d43eae56902566ec9d5badff',
    priority: priorities.notice,
    entry: (url: string) => ({
      text: `mail goes to the first proxy again, ${url}`,
    }),
    subject: 'Mail goes to the first proxy or address again',
    manual: HOST,
    help: `
      The first proxy of GMAIL_PROXY_URL, or the first address of its name, takes mail again. Nothing has
      to be done.`,
  },
  proxyGivenUp: {
    id: '79f2f305de96ce9bad32be6543bd540f',
    priority: priorities.warning,
    /** So many messages do not wait any more for a proxy that may have sent them. */
    entry: (url: string, messages: number) => ({
      text:
        `the proxy ${url} is not waited for any more: ${countOf(messages, 'message')} that it was posted and did not ` +
        'answer for can go to any proxy now, and may arrive twice',
    }),
    subject: 'Messages do not wait any more for a proxy that may have sent them',
    manual: HOST,
    help: `
      These messages were posted to a proxy that did not answer whether it sent them, and only its ledger
      knows. It is not waited for any more, because GMAIL_PROXY_URL does not name it any more and names no
      proxy that may have its ledger, or because it has had another ledger for 4 hours. The messages are
      posted to the proxy in use. Nobody can know whether some of them arrive twice.`,
  },
  operatorFault: {
    id: '197c6f0af7417a27022c6b1a93049984',
    priority: priorities.error,
    /** Trouble that an operator has to end; whether mail `waits` for that, or another proxy takes it. */
    entry: (text: string, remedy: string, waits: boolean) => ({
      text: `attention: ${text}. No mail is lost${waits ? ', it waits' : ''}. To do: ${remedy}`,
    }),
    subject: 'Mail waits for the administrator',
    manual: HOST,
    help: `
      The proxy cannot be used with the settings of this host: a wrong key, certificate, name or address,
      or a wrong clock. The line ends with what to do. No mail is lost or bounced, it waits. This entry is
      written at once and then every hour until a post passes.

      To see what is wrong: appengine-mailer check
      After a change in /etc/envdir or /etc/default: systemctl restart appengine-mailer`,
  },
  drainStarted: {
    id: '91f47674b2297675df883376d30cd30f',
    priority: priorities.info,
    entry: (
      folder: string,
      urls: readonly string[],
      { queued, recovered }: { queued: number; recovered: number },
    ) => ({
      text:
        `drain of ${folder} to ${urls.join(', ')} started; ${countOf(queued, 'message')} queued` +
        (recovered > 0 ? `; ${recovered} being sent when drain last died` : ''),
    }),
    subject: 'Sending of mail has started',
    manual: HOST,
    help: `
      The service appengine-mailer has opened its spool and sends what is due. Messages that were being
      sent when it last ended are sent again. The proxy recognises them by their ids, so that no recipient
      gets them twice.`,
  },
  keyUnsafe: {
    id: '6a1d5fc014664fbaaa8d6bec01c1da1f',
    priority: priorities.warning,
    /** The key works, but can be guessed or be read by every user; written at each start. */
    entry: (fault: KeyFault) => ({ text: keyFaultText(fault) }),
    subject: 'The key of this host is not safe',
    manual: HOST,
    help: `
      The key is so short that it can be guessed, or every user of this machine can read its file. Anybody
      who has the key can send through the proxy as this host. The key goes on working, and this entry is
      written at each start.

      Make a key with: openssl rand -base64 32. Add it to the proxy's keys first, then put it into the
      first line of /etc/envdir/GMAIL_SECRET_KEY (root, mode 0600) here, and:
      systemctl restart appengine-mailer
      Then remove the old key from the proxy's keys. appengine-mailer check looks at the key too.`,
  },
  drainStopped: {
    id: 'a956dea087d7a774152c1a03c7064769',
    priority: priorities.info,
    entry: (folder: string, queued: number) => ({
      text: `drain of ${folder} stopped; ${countOf(queued, 'message')} queued`,
    }),
    subject: 'Sending of mail has stopped',
    manual: HOST,
    help: `
      The service appengine-mailer was asked to end. Mail is still accepted, and waits until the service
      is started again: systemctl start appengine-mailer`,
  },
  spoolReplaced: {
    id: 'cc69eb6e0340a16eba8b2077b9208857',
    priority: priorities.error,
    /**
     * Other programs find another spool by its name, or none: drain ends, and is started again on what is there. `rescued`
     * counts the messages that were in a removed log alone and are saved, or says why none are.
     */
    entry: (text: string, rescued: number | Error) => {
      const saved =
        rescued instanceof Error
          ? `; what was taken just before and is only in the removed log is lost: ${rescued.message}`
          : rescued > 0
            ? `; ${countOf(rescued, 'message')} that only the removed log has are saved`
            : '';
      return {
        text: `attention: ${text}: drain ends and is started again on the spool that is there now${saved}`,
      };
    },
    subject: 'Files of the spool were removed or replaced while drain used them',
    manual: HOST,
    help: `
      The spool is three files while it is in use: spool.db, spool.db-wal and spool.db-shm. Somebody
      removed or replaced one of them, and programs that started since then use other files than drain.
      Drain ends without touching these, and systemd starts it again on what is there now.

      All mail that was acknowledged since then is there and is sent. Drain saves messages that are only
      in a removed spool.db-wal into files rescued-* beside the spool, and queues them again when it
      starts. The line says if that failed. Never remove or restore these files while programs use them:
      first run systemctl stop appengine-mailer, and stop Exim.`,
  },
  spoolRescued: {
    id: '2c30ddd2c3b057044b0cc90d8b712254',
    priority: priorities.notice,
    /** Messages that an earlier drain saved from a removed log are in the queue again. */
    entry: (folder: string, messages: number) => ({
      text: `${countOf(messages, 'message')} that a removed log of the spool ${folder} had are queued again`,
    }),
    subject: 'Mail from a removed write-ahead log of the spool is queued again',
    manual: HOST,
    help: `
      Somebody removed spool.db-wal while drain used it. Drain saved the messages that were nowhere else.
      It has queued them again now, with the same ids, so that the proxy recognises those that were sent
      meanwhile. Their histories and lifetimes begin again.`,
  },
  spoolLogCut: {
    id: 'bcc829538463098e985007123714591e',
    priority: priorities.error,
    /** SQLite ignores the damaged end of a log: only the first program that opens the file can see it. */
    entry: (folder: string) => ({
      text:
        `attention: the write-ahead log of the spool ${folder} has lost its end: mail that was taken last may be ` +
        "lost, and what was sent last may be sent again. To do: look for a failing disk (dmesg), and in Exim's log " +
        'for the messages that it handed over just before',
    }),
    subject: 'The write-ahead log of the spool is damaged at its end',
    manual: HOST,
    help: `
      spool.db-wal contains what was committed last. A part of it is broken or missing, and SQLite ignores
      everything behind that part: messages that were handed over last may be lost, and messages that were
      sent last are posted again, which the proxy recognises. All else goes on.

      A disk that loses what was written to it is failing: see dmesg and smartctl. The main log of Exim
      names the messages that it handed over in the minutes before the machine or the program died.`,
  },
  spoolLogGrown: {
    id: 'a92f0888164df182cc6f9cf843fabde6',
    priority: priorities.error,
    /** The write-ahead log grows with every commit, because a reader keeps it from being used anew. */
    entry: (folder: string, bytes: number, holders: readonly string[]) => ({
      text: `attention: ${logGrownText(`the spool ${folder}`, bytes, holders)}. To do: ${logGrownRemedy}`,
    }),
    subject: 'The write-ahead log of the spool grows without end',
    manual: HOST,
    help: logGrownHelp('spool.db'),
  },
  spoolLogShrunk: {
    id: '3bb76b515392a5312afd6627a0654748',
    priority: priorities.notice,
    entry: (folder: string) => ({
      text: `the write-ahead log of the spool ${folder} is small again`,
    }),
    subject: 'The write-ahead log of the spool is small again',
    manual: HOST,
    help: `
      The program that kept the log from being used anew has ended. Nothing has to be done.`,
  },
  spoolTrouble: {
    id: 'f743b30d969cc8f41b128c647c4c8dfd',
    priority: priorities.error,
    /** The spool cannot be read or written: nothing is sent, because it could not be recorded. */
    entry: (folder: string, text: string, waitMs: number) => ({
      text: `the spool ${folder} cannot be written, so nothing is sent: ${text}; next try ${showWait(waitMs)}`,
    }),
    subject: 'The spool of mail cannot be written',
    manual: HOST,
    help: `
      The spool, usually /var/spool/appengine-mailer, cannot be written. The line says why. Nothing is
      sent meanwhile, because it could not be recorded, and new mail waits in Exim's own queue. Drain
      tries again by itself.

      Look for a full disk (df -h, df -i), a read-only file system (dmesg), and wrong owners:
      all files in the folder belong to appengine-mailer:appengine-mailer. Drain repairs a damaged spool
      by itself; to see what is wrong: appengine-mailer queue fsck --check`,
  },
  spoolUnwatched: {
    id: 'a7a6d5f8f73e695ead47bd4a657eb323',
    priority: priorities.warning,
    /** New mail does not wake drain, which has to look for it. */
    entry: (folder: string, text: string, everyMs: number) => ({
      text:
        `the spool ${folder} cannot be watched (${text}): drain looks for new mail every ` +
        `${showDuration(everyMs)}; raise fs.inotify.max_user_watches or max_user_instances`,
    }),
    subject: 'The spool of mail cannot be watched',
    manual: HOST,
    help: `
      New mail wakes drain by inotify, which has no room for one more watch. Mail goes on, up to
      30 seconds later. Raise fs.inotify.max_user_watches or fs.inotify.max_user_instances
      (sysctl.d(5)), and then: systemctl restart appengine-mailer`,
  },
  ...metricsEvents({
    metricsServed: '9ba02f100753434bb6bacdb9858d7cf1',
    metricsUnavailable: '5bb1b846c07448a084b6fe05c565d9a7',
  }),
  spoolUsable: {
    id: '15a2adca8fe5f7ac8d06609ac9ee5883',
    priority: priorities.notice,
    entry: (folder: string) => ({
      text: `the spool ${folder} can be written again; sending goes on`,
    }),
    subject: 'The spool of mail can be written again',
    manual: HOST,
    help: `
      The trouble with the spool is over and sending goes on. Mail that waits in Exim's own queue comes
      with Exim's next queue run, or at once with: exim4 -qff`,
  },
  spoolRepaired: {
    id: '25b7586b09ad78c04780b90a9bd7ec0f',
    priority: priorities.error,
    /** A sentence about what a repair of the spool found, lost or did. */
    entry: (text: string) => ({ text }),
    subject: 'The spool of mail was damaged and is being repaired',
    manual: QUEUE,
    help: `
      A page of the spool was broken, and drain runs appengine-mailer queue fsck. The lines of this event
      say what was wrong, which messages are lost, and where the damaged file is kept. All other messages
      are whole and are sent. Look for errors of the disk (dmesg).`,
  },
  messageDamaged: {
    id: '76b0976badc05dd11753d7bae28d2767',
    priority: priorities.error,
    /** A message cannot be sent, because the spool has lost a part of it; it is held, and the others go on. */
    entry: (mail: JournalMail, text: string, folder: string) => ({
      text: `attention: ${nameOf(mail)} is damaged and held, others go on: ${text}. To do: ${fsckRemedy(folder)}`,
      fields: mailFields(mail),
    }),
    subject: 'Message @MAIL_ID@ is damaged',
    manual: QUEUE,
    help: `
      The spool has lost bytes of the message, or has others than Exim wrote. The message is held, and all
      other mail goes on. Look for errors of the disk (dmesg). To see what is lost:
      systemctl stop appengine-mailer; appengine-mailer queue fsck; systemctl start appengine-mailer`,
  },
  maybeSent: {
    id: '9813c29cfc1e12707881b55a331b69e0',
    priority: priorities.error,
    /** The server's answer leaves open whether it sent the message, which is held: a person has to find out. */
    entry: (
      mail: JournalMail,
      attempt: number,
      undecided: readonly string[],
      { text, remedy }: { text: string; remedy?: string },
    ) => ({
      text:
        `attention: ${nameOf(mail)}: attempt ${attempt}: ${text}. It is held for ${addressList(undecided)}, and not ` +
        `posted again by itself. To do: ${remedy}. Then, if it arrived, queue delete; if not, queue release, which sends it`,
      fields: {
        ...mailFields(mail),
        MAIL_RECIPIENT: undecided,
        MAIL_STATUS: statuses.unknown,
        MAIL_ATTEMPT: attempt,
      },
    }),
    subject: 'It is not known whether message @MAIL_ID@ was sent, and it is held',
    manual: QUEUE,
    help: `
      A v1 server (drain --wire v1) says by the status 204 that it has sent a message. This one gave
      another 2xx. The message is held, so that it is not sent twice. Recipients that were not posted yet
      are held with it. If this server answers so when it has sent a message, set
      APPENGINE_MAILER_V1_SUCCESS to the status in /etc/default/appengine-mailer, and:
      systemctl restart appengine-mailer

      If the message has arrived: appengine-mailer queue delete @MAIL_ID@
      If not, to send it: appengine-mailer queue release @MAIL_ID@`,
  },
  noticeSent: {
    id: '22b4c60b0b73fcaeb7a518729705728f',
    priority: priorities.info,
    /** The local mail server has a report for the sender of these messages. */
    entry: (sender: string, messages: readonly ReportedMail[]) => ({
      text: `${addressText(sender)} was told of ${addressList(recipientsOf(messages))}: ${kindsOf(messages).join(' and ')}`,
      fields: reportFields(messages),
    }),
    subject: 'The sender of message @MAIL_ID@ gets a report',
    manual: HOST,
    help: `
      The mail server of this host has taken a report for the sender: @MAIL_RECIPIENT@ failed, or is
      delayed. Nothing has to be done.

      Above --notices-per-hour one summary reports the rest of an hour.`,
  },
  noticeUnanswered: {
    id: '68d4581fc0d7496f9868251cfdfb2c3e',
    priority: priorities.warning,
    /** The local mail server did not answer to the whole of a report: it may have it, and gets it again. */
    entry: (
      sender: string,
      messages: readonly ReportedMail[],
      { text, waitMs }: { text: string; waitMs: number },
    ) => ({
      text:
        `${addressText(sender)} may have been told of ${addressList(recipientsOf(messages))}: the mail server of this host got the ` +
        `whole report and did not answer (${text}); it gets the same report again ${showWait(waitMs)}`,
      fields: reportFields(messages),
    }),
    subject: 'The sender of message @MAIL_ID@ may have got a report',
    manual: HOST,
    help: `
      The mail server of this host got the whole report for the sender, and did not say whether it took
      it: it hung up, was silent for longer than RFC 5321 allows (10 minutes), or drain was stopped
      meanwhile. It gets the same report again, with the same Message-ID, five times at most. The reports
      to other senders go on.

      The log of Exim may say why it takes so long: /var/log/exim4/mainlog`,
  },
  noticeRefused: {
    id: '08b457e95fc89c4db29604fa8e7ff61c',
    priority: priorities.warning,
    /** The local mail server does not take a report: what failed stays failed, and nobody gets a report. */
    entry: (sender: string, messages: readonly ReportedMail[], text: string) => {
      const consequences = {
        failure: `what failed can be looked at for ${showDuration(limits.failedBodyMs)}, and is deleted then`,
        delay: 'what is delayed is still tried',
      };
      return {
        text:
          `${addressText(sender)} cannot be told of ${addressList(recipientsOf(messages))}, since the mail server of this host ` +
          `does not take the report: ${[text, ...kindsOf(messages).map((kind) => consequences[kind])].join('; ')}`,
        fields: reportFields(messages),
      };
    },
    subject: 'The sender of message @MAIL_ID@ cannot get a report',
    manual: HOST,
    help: `
      The mail server of this host does not take the report. The line says why. A failed message stays in
      the spool for 5 days and is deleted then. To look at it: appengine-mailer queue show @MAIL_ID@

      Often the sender is an address that does not exist. Set one that does in the program that sends.`,
  },
  noticesWait: {
    id: 'c517d67a75947cd0d7acbf61d31d39a5',
    priority: priorities.warning,
    /** No report can be submitted; all that are pending wait. */
    entry: (server: string, text: string) => ({
      text: `reports to senders wait, since the mail server ${server} takes none: ${text}`,
    }),
    subject: 'Reports to senders wait for the mail server of this host',
    manual: HOST,
    help: `
      Reports of failed and delayed mail go by SMTP to the mail server of this host (drain --notice-smtp),
      and it takes none now. They are tried again. None is lost, and other mail goes on.

      See whether Exim runs and listens on 127.0.0.1: systemctl status exim4`,
  },
  noticesGoOn: {
    id: 'c3c8baf30512fcfbd6c904606d5f4f9a',
    priority: priorities.notice,
    entry: (server: string) => ({
      text: `the mail server ${server} takes reports to senders again`,
    }),
    subject: 'The mail server of this host takes reports to senders again',
    manual: HOST,
    help: `
      The pending reports are sent now. Nothing has to be done.`,
  },
  nobodyTold: {
    id: '1afbe4b2525287c85aca8eb7063e70a8',
    priority: priorities.notice,
    /** A message with the null sender failed: nobody ever gets a report (law 9). */
    entry: (mail: JournalMail, recipients: readonly string[]) => ({
      text:
        `${nameOf(mail)}: it has the null sender, so nobody is told that ${addressList(recipients)} ` +
        `failed; it can be looked at for ${showDuration(limits.failedBodyMs)}, and is deleted then`,
      fields: { ...mailFields(mail), MAIL_RECIPIENT: recipients },
    }),
    subject: 'Message @MAIL_ID@ with the null sender failed',
    manual: HOST,
    help: `
      The message is a report itself, or another message that asks for no reply, so nobody gets a report:
      a bounce never causes a bounce. The message stays in the spool for 5 days and is deleted then.
      To look at it: appengine-mailer queue show @MAIL_ID@`,
  },
} satisfies JournalEvents;

function downText(urls: readonly string[]): string {
  if (urls.length > 1) return `none of the proxies ${urls.join(', ')} takes mail`;
  return `the proxy ${urls.join()} is down`;
}

function attempted(mail: JournalMail, { attempt, recipients, dueAt, now }: JournalAttempt) {
  const event = attemptEvent(recipients);
  const isPending = recipients.some(({ state }) => state === 'pending');
  const next = isPending ? `; next try ${showWait(dueAt - now)}` : '';
  // Of several values of a field journalctl -x shows any one: MAIL_STATUS has those that the event is about.
  const about = event === 'deferred' ? 'pending' : event;
  const itsStatuses = recipients.filter(({ state }) => state === about).map(({ status }) => status);
  return {
    text: `${nameOf(mail)}: attempt ${attempt}: ${recipientsText(recipients)}${next}`,
    fields: {
      ...mailFields(mail),
      MAIL_RECIPIENT: recipients.map(({ address }) => address),
      MAIL_STATUS: [...new Set(itsStatuses)],
      MAIL_ATTEMPT: attempt,
      MAIL_DUE: isPending ? new Date(dueAt).toISOString() : undefined,
    },
  };
}
