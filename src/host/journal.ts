import { addressList } from '../mail/address-list.ts';
import { statusClass, statuses } from '../mail/enhanced-status.ts';
import { printable } from '../mail/printable.ts';
import { showDuration } from './duration.ts';
import { journalSink, priority, type Entry, type Sink } from './journal-sink.ts';

/** A message, as the journal names it. */
export interface JournalMail {
  id: string;
  eximId: string;
  sender: string;
}

/** A recipient and what was said of it. */
export interface JournalRecipient {
  address: string;
  state: string;
  status: string;
  reason: string;
}

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
      text: `${name(mail)}: attempt ${attempt}: ${recipientsText(recipients)}${next}`,
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
        `${name(mail)}: attempt ${attempt} (does not count): ${addressList(recipients)} not sent, ` +
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
      fields: {},
    });
  }

  /** Trouble that an operator has to end. */
  operatorFault(text: string, remedy: string): void {
    this.#write('operator_fault', {
      text: `attention: ${text}. No mail is lost, it waits. To do: ${remedy}`,
      priority: priority.error,
      fields: {},
    });
  }

  drainStarted(folder: string, url: string, queued: number, recovered: number): void {
    const again = recovered > 0 ? `; ${recovered} being sent when drain last died` : '';
    this.#write('drain_started', {
      text: `drain of ${folder} to ${url} started; ${count(queued, 'message')} queued${again}`,
      priority: priority.info,
      fields: {},
    });
  }

  drainStopped(folder: string, queued: number): void {
    this.#write('drain_stopped', {
      text: `drain of ${folder} stopped; ${count(queued, 'message')} queued`,
      priority: priority.info,
      fields: {},
    });
  }

  /** The spool cannot be read or written: nothing is sent, since it could not be recorded. */
  spoolTrouble(folder: string, text: string, waitMs: number): void {
    this.#write('spool_trouble', {
      text: `the spool ${folder} cannot be written, so nothing is sent: ${text}; next try ${inTime(waitMs)}`,
      priority: priority.error,
      fields: {},
    });
  }

  /** The spool can be worked on again. */
  spoolUsable(folder: string): void {
    this.#write('spool_usable', {
      text: `the spool ${folder} can be written again; sending goes on`,
      priority: priority.notice,
      fields: {},
    });
  }

  /** Drain is not woken by new mail and has to look for it. */
  spoolUnwatched(folder: string, text: string, everyMs: number): void {
    this.#write('spool_trouble', {
      text:
        `the spool ${folder} cannot be watched (${text}): new mail is looked for every ` +
        `${showDuration(everyMs)}; raise fs.inotify.max_user_watches or max_user_instances`,
      priority: priority.warning,
      fields: {},
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
      fields: {},
    });
  }

  proxyStopped(address: string): void {
    this.#write('proxy_stopped', {
      text: `proxy on ${address} stopped`,
      priority: priority.info,
      fields: {},
    });
  }

  /** The keys were read again, and these are valid from now on. */
  keysInForce(keys: number): void {
    this.#write('proxy_keys', {
      text: `the keys were read again: ${count(keys, 'key')} in force`,
      priority: priority.notice,
      fields: {},
    });
  }

  /** New keys cannot be had: those that are in force stay so. */
  keysTrouble(text: string): void {
    this.#write('proxy_keys_trouble', {
      text: `attention: the keys that are in force stay so: ${text}`,
      priority: priority.error,
      fields: {},
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
      fields: {},
    });
  }

  #write(event: keyof typeof messageIds, { text, priority, fields }: Entry): void {
    const all: Entry['fields'] = { MESSAGE_ID: messageIds[event], MAIL_EVENT: event, ...fields };
    const entries = Object.entries(all).map(([name, value]) => [name, cleaned(value)]);
    this.#sink({ text: printable(text), priority, fields: Object.fromEntries(entries) });
  }
}

/** The events and their catalog ids (`journalctl -x`, systemd.journal-fields(7)). */
const messageIds = {
  sent: 'fc00f2ad7866ff2d2878619c5b123e67',
  deferred: '4d9e9eae1971282e4b9d9e6502cb1ed7',
  failed: 'cea56a7efcf8e9ca97c7d5c2f41552d7',
  postponed: '06015cf420667fdc60b37360792252c3',
  endpoint_down: 'bb12ad4f696beee6c4fcf596bd9e4f00',
  endpoint_up: '60222abbc38fa6a074ec6cafd3adbc88',
  operator_fault: '197c6f0af7417a27022c6b1a93049984',
  drain_started: '91f47674b2297675df883376d30cd30f',
  drain_stopped: 'a956dea087d7a774152c1a03c7064769',
  spool_trouble: 'f743b30d969cc8f41b128c647c4c8dfd',
  spool_usable: '15a2adca8fe5f7ac8d06609ac9ee5883',
  proxy_started: '9d895d40a5e059bc6c24a7289191d7cc',
  proxy_stopped: '884e4b51e8578622e4606d24ba46cedb',
  proxy_verdicts: '0362a15832437e82322a74ea7167d9a8',
  proxy_unknown: 'aa80e848491f69c5a2703a184708f32c',
  proxy_refused: '135f3cc69649ee3151023c15baae3ee4',
  proxy_trouble: '10f494ddd5f76c71fb97b37efb5e7fbb',
  proxy_keys: 'd0bc7f5ecd0a02f214be2683427223d4',
  proxy_keys_trouble: '54431e8ec8a21b2c3f68719eb65255bc',
  proxy_sender_fixed: '79548086096b68a4c665272d1d76fad6',
} as const;

function cleaned(value: Entry['fields'][string]): Entry['fields'][string] {
  if (typeof value === 'string') return printable(value);
  return typeof value === 'object' ? value.map(printable) : value;
}

function mailFields({ id, eximId }: JournalMail) {
  return { MAIL_ID: id, EXIM_ID: eximId };
}

function name({ id, eximId, sender }: JournalMail): string {
  return `${id} (Exim ${eximId}) from <${sender}>`;
}

/** Recipients with the same verdict are named together. */
function recipientsText(recipients: readonly JournalRecipient[]): string {
  const groups = new Map<string, string[]>();
  for (const { address, state, status, reason } of recipients) {
    const word = status === statuses.expired ? 'given up' : (WORDS[state] ?? state);
    const said = `${word} (${status} ${reason})`;
    groups.set(said, [...(groups.get(said) ?? []), address]);
  }
  return [...groups].map(([said, addresses]) => `${addressList(addresses)} ${said}`).join('; ');
}

/** What the states of a recipient are called in a sentence. */
const WORDS: Partial<Record<string, string>> = { pending: 'deferred', failed: 'refused' };

function inTime(ms: number): string {
  return ms <= 0 ? 'at once' : `in ${showDuration(ms)}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
