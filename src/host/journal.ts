import { addressList } from '../mail/address-list.ts';
import { limits } from '../mail/limits.ts';
import { statusClass } from '../mail/enhanced-status.ts';
import { printable } from '../mail/printable.ts';
import { showDuration } from './duration.ts';
import {
  kindsOf,
  mailFields,
  nameOf,
  toldFields,
  toldOf,
  type JournalMail,
  type ToldMail,
} from './journal-mail.ts';
import { messageIds } from './message-ids.ts';
import { fsckRemedy } from './fsck-remedy.ts';
import { journalSink, priority, type Entry, type Sink } from './journal-sink.ts';
import { recipientsText, type JournalRecipient } from './recipients-text.ts';

/** An entry, before it has its event's name and id. */
type Said = Omit<Entry, 'fields'> & Partial<Pick<Entry, 'fields'>>;

/**
 * Every line that a program of this project writes, one method an event. Each is one sentence or two
 * for a person, and fields for `journalctl FIELD=value`; foreign text is made printable here.
 */
export class Journal {
  readonly #sink: Sink;

  constructor(sink: Sink = journalSink(process.env)) {
    this.#sink = sink;
  }

  /** An attempt that brought verdicts, or trouble of this message alone. Due: when the rest is next. */
  attempted(
    mail: JournalMail,
    attempt: number,
    recipients: readonly JournalRecipient[],
    dueAt: number,
    now: number,
  ): void {
    const waits = recipients.some(({ state }) => state === 'pending');
    const failed = recipients.some(({ state }) => state === 'failed');
    const next = waits ? `; next try ${inTime(dueAt - now)}` : '';
    this.#write(failed ? 'failed' : waits ? 'deferred' : 'sent', {
      text: `${nameOf(mail)}: attempt ${attempt}: ${recipientsText(recipients)}${next}`,
      priority: failed ? priority.error : waits ? priority.warning : priority.info,
      fields: {
        ...mailFields(mail),
        MAIL_RECIPIENT: recipients.map(({ address }) => address),
        MAIL_STATUS: [...new Set(recipients.map(({ status }) => status))],
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
      waitMs === undefined ? '' : `; next try when the proxy is back, asked ${inTime(waitMs)}`;
    this.#write('postponed', {
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

  /** The endpoint failed, and is left alone for a while; `queued` messages wait for it. */
  endpointDown(url: string, text: string, failures: number, waitMs: number, queued: number): void {
    this.#write('endpoint_down', {
      text:
        `the proxy ${url} is down: ${text}; ${count(queued, 'message')} queued, ` +
        `try ${failures} failed, next try ${inTime(waitMs)}`,
      priority: priority.warning,
      fields: { MAIL_ATTEMPT: failures },
    });
  }

  /** The endpoint is back after an outage. */
  endpointUp(url: string, downMs: number, queued: number): void {
    this.#write('endpoint_up', {
      text: `the proxy ${url} is back after ${showDuration(downMs)}; ${count(queued, 'message')} queued`,
      priority: priority.notice,
    });
  }

  /** Trouble that an operator has to end. */
  operatorFault(text: string, remedy: string): void {
    this.#write('operator_fault', {
      text: `attention: ${text}. No mail is lost, it waits. To do: ${remedy}`,
      priority: priority.error,
    });
  }

  drainStarted(folder: string, url: string, queued: number, recovered: number): void {
    const again = recovered > 0 ? `; ${recovered} being sent when drain last died` : '';
    this.#write('drain_started', {
      text: `drain of ${folder} to ${url} started; ${count(queued, 'message')} queued${again}`,
      priority: priority.info,
    });
  }

  drainStopped(folder: string, queued: number): void {
    this.#write('drain_stopped', {
      text: `drain of ${folder} stopped; ${count(queued, 'message')} queued`,
      priority: priority.info,
    });
  }

  /** The spool cannot be read or written: nothing is sent, since it could not be recorded. */
  spoolTrouble(folder: string, text: string, waitMs: number): void {
    this.#write('spool_trouble', {
      text: `the spool ${folder} cannot be written, so nothing is sent: ${text}; next try ${inTime(waitMs)}`,
      priority: priority.error,
    });
  }

  /** A message cannot be sent, since the spool has lost a part of it; it is held, and the others go on. */
  messageDamaged(mail: JournalMail, text: string): void {
    this.#write('message_damaged', {
      text: `attention: ${nameOf(mail)} is damaged and held, others go on: ${text}. To do: ${fsckRemedy}`,
      priority: priority.error,
      fields: mailFields(mail),
    });
  }

  /** What a repair of the spool found, lost or came to: a sentence each. */
  spoolRepaired(text: string): void {
    this.#write('spool_repaired', { text, priority: priority.error });
  }

  /** The spool can be worked on again. */
  spoolUsable(folder: string): void {
    this.#write('spool_usable', {
      text: `the spool ${folder} can be written again; sending goes on`,
      priority: priority.notice,
    });
  }

  /** Drain is not woken by new mail and has to look for it. */
  spoolUnwatched(folder: string, text: string, everyMs: number): void {
    this.#write('spool_trouble', {
      text:
        `the spool ${folder} cannot be watched (${text}): new mail is looked for every ` +
        `${showDuration(everyMs)}; raise fs.inotify.max_user_watches or max_user_instances`,
      priority: priority.warning,
    });
  }

  /** A message with the null sender failed: its sender is told nothing, ever (law 9). */
  nobodyTold(mail: JournalMail, recipients: readonly string[]): void {
    this.#write('nobody_told', {
      text:
        `${nameOf(mail)}: it has the null sender, so nobody is told that ${addressList(recipients)} ` +
        `failed; it can be looked at for ${showDuration(limits.failedBodyMs)}, and is deleted then`,
      priority: priority.notice,
      fields: { ...mailFields(mail), MAIL_RECIPIENT: recipients },
    });
  }

  /** The local mail server has a report or warning for the sender of these messages. */
  senderTold(sender: string, messages: readonly ToldMail[]): void {
    this.#write('notice_sent', {
      text: `<${sender}> was told of ${addressList(toldOf(messages))}: ${kindsOf(messages).join(' and ')}`,
      priority: priority.info,
      fields: toldFields(messages),
    });
  }

  /** The local mail server does not take a notice: what failed stays failed, and nobody is told. */
  noticeRefused(sender: string, messages: readonly ToldMail[], text: string): void {
    const becomes = {
      failure: `what failed can be looked at for ${showDuration(limits.failedBodyMs)}, and is deleted then`,
      delay: 'what is delayed is still tried',
    };
    this.#write('notice_refused', {
      text:
        `<${sender}> cannot be told of ${addressList(toldOf(messages))}, since the mail server of this host ` +
        `does not take the report: ${[text, ...kindsOf(messages).map((kind) => becomes[kind])].join('; ')}`,
      priority: priority.warning,
      fields: toldFields(messages),
    });
  }

  /** No notice can be handed over; all that are owed wait. */
  noticesWait(server: string, text: string): void {
    this.#write('notices_wait', {
      text: `reports to senders wait, since the mail server ${server} takes none: ${text}`,
      priority: priority.warning,
    });
  }

  /** Notices can be handed over again. */
  noticesGoOn(server: string): void {
    this.#write('notices_go_on', {
      text: `the mail server ${server} takes reports to senders again`,
      priority: priority.notice,
    });
  }

  proxyStarted(
    address: string,
    backend: string,
    ledger: { file: string; isEmpty: boolean },
    keys: number,
    softBounce: boolean,
  ): void {
    // An empty one may be a wrong path: what was sent before would be sent again.
    const remembers = `${ledger.file}${ledger.isEmpty ? ' (empty)' : ''}`;
    this.#write('proxy_started', {
      text:
        `proxy listens on ${address}, backend ${backend}, ledger ${remembers}, ${count(keys, 'key')}` +
        (softBounce ? '; --soft-bounce is on: nothing is refused for good' : ''),
      priority: priority.info,
    });
  }

  proxyStopped(address: string): void {
    this.#write('proxy_stopped', {
      text: `proxy on ${address} stopped`,
      priority: priority.info,
    });
  }

  /** The keys were read again, and these are valid from now on. */
  keysInForce(keys: number): void {
    this.#write('proxy_keys', {
      text: `the keys were read again: ${count(keys, 'key')} in force`,
      priority: priority.notice,
    });
  }

  /** New keys cannot be had: those that are in force stay so. */
  keysTrouble(text: string): void {
    this.#write('proxy_keys_trouble', {
      text: `attention: the keys that are in force stay so: ${text}`,
      priority: priority.error,
    });
  }

  /** A sender that is not allowed was replaced, as it was asked for, in the envelope and in From. */
  senderFixed(id: string, sender: string, stranger: string, defaultSender: string): void {
    this.#write('proxy_sender_fixed', {
      text:
        `${id} from <${sender}>: '${stranger}' is not an allowed sender; ` +
        `sent as <${defaultSender}>`,
      priority: priority.notice,
      fields: { MAIL_ID: id },
    });
  }

  /** Header fields that the backend has no place for. */
  headersDropped(id: string, names: readonly string[]): void {
    const named = names.slice(0, limits.namedHeaders).join(', ');
    const more = names.length - limits.namedHeaders;
    this.#write('proxy_headers_dropped', {
      text: `${id}: sent without ${named}${more > 0 ? ` and ${more} more` : ''}, which the Mail API does not take`,
      priority: priority.info,
      fields: { MAIL_ID: id },
    });
  }

  /** A message that a backend cannot read, though it may be in order: it waits. */
  unreadable(id: string, reason: string): void {
    this.#write('proxy_unreadable', {
      text: `${id}: it waits, since the message cannot be taken apart: ${reason}`,
      priority: priority.warning,
      fields: { MAIL_ID: id },
    });
  }

  /** The proxy's answer to a post. */
  verdicts(
    id: string,
    sender: string,
    verdicts: readonly { recipient: string; status: string; reason: string }[],
  ): void {
    const recipients = verdicts.map(({ recipient, status, reason }) => ({
      address: recipient,
      state: statusClass(status) ?? 'deferred',
      status,
      reason,
    }));
    this.#write('proxy_verdicts', {
      text: `${id} from <${sender}>: ${recipientsText(recipients)}`,
      priority: priority.info,
      fields: {
        MAIL_ID: id,
        MAIL_RECIPIENT: recipients.map(({ address }) => address),
        MAIL_STATUS: [...new Set(recipients.map(({ status }) => status))],
      },
    });
  }

  /** The backend may have sent it or not; the ledger lists it, and the next post sends it again. */
  outcomeUnknown(id: string, recipients: readonly string[], reason: string): void {
    this.#write('proxy_unknown', {
      text:
        `${id} to ${addressList(recipients)}: it cannot be known whether this was sent: ` +
        `${reason}; the next post sends it again`,
      priority: priority.warning,
      fields: { MAIL_ID: id, MAIL_RECIPIENT: recipients },
    });
  }

  /** A request that was not taken. */
  requestRefused(from: string, id: string | undefined, status: number, reason: string): void {
    this.#write('proxy_refused', {
      text: `request from ${from} refused with ${status}: ${reason}`,
      priority: priority.warning,
      fields: { MAIL_ID: id, MAIL_STATUS: status },
    });
  }

  /** The ledger or the backend fails: nothing is taken until it works again. */
  proxyTrouble(text: string): void {
    this.#write('proxy_trouble', {
      text: `attention: no mail is taken: ${text}`,
      priority: priority.error,
    });
  }

  #write(event: keyof typeof messageIds, { text, priority, fields = {} }: Said): void {
    const all: Entry['fields'] = { MESSAGE_ID: messageIds[event], MAIL_EVENT: event, ...fields };
    const entries = Object.entries(all).map(([name, value]) => [name, cleaned(value)]);
    this.#sink({ text: printable(text), priority, fields: Object.fromEntries(entries) });
  }
}

function cleaned(value: Entry['fields'][string]): Entry['fields'][string] {
  if (typeof value === 'string') return printable(value);
  return typeof value === 'object' ? value.map(printable) : value;
}

function inTime(ms: number): string {
  return ms <= 0 ? 'at once' : `in ${showDuration(ms)}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
