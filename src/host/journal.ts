import { limits } from '../mail/limits.ts';
import { printable } from '../mail/printable.ts';
import { journalSink, type Entry, type Sink } from './journal-sink.ts';
import { messageIds } from './message-ids.ts';

/** An entry, before it has its event's name and id. */
type Said = Omit<Entry, 'fields'> & Partial<Pick<Entry, 'fields'>>;

/**
 * The lines that a service writes; its own journal has one method an event. Each is one sentence or two
 * for a person, and fields for `journalctl FIELD=value`; foreign text is made printable here.
 */
export abstract class Journal {
  readonly #sink: Sink;

  constructor(sink: Sink = journalSink(process.env)) {
    this.#sink = sink;
  }

  protected write(event: keyof typeof messageIds, { text, priority, fields = {} }: Said): void {
    const all: Entry['fields'] = { MESSAGE_ID: messageIds[event], MAIL_EVENT: event, ...fields };
    const entries = Object.entries(all).map(([name, value]) => [name, cleaned(value)]);
    const line = printable(`${text}${unnamed(text, fields['MAIL_RECIPIENT']) ? FIND : ''}`);
    this.#sink({ text: line, priority, fields: Object.fromEntries(entries) });
  }
}

function cleaned(value: Entry['fields'][string]): Entry['fields'][string] {
  if (typeof value === 'string') return printable(value);
  return typeof value === 'object' ? value.map(printable) : value;
}

/** Whether a recipient is in the fields alone: a line names the first few. */
function unnamed(text: string, recipients: Entry['fields'][string]): boolean {
  if (typeof recipients !== 'object' || recipients.length <= limits.namedRecipients) return false;
  return recipients.some((address) => !text.includes(`<${address}>`));
}

const FIND = '; to find the others: journalctl MAIL_RECIPIENT=ADDRESS';
