import { limits } from '../limits.ts';
import { printable } from '../mail/printable.ts';
import { journalSink, type Entry, type Sink } from './systemd/journal-sink.ts';
import { journalEventIds } from './journal-event-ids.ts';

/** An entry, before it has its event's name and id. */
type Said = Omit<Entry, 'fields'> & Partial<Pick<Entry, 'fields'>>;

/**
 * The lines that a service writes; its own journal has one method an event. Each is one sentence or two
 * for a person, and fields for `journalctl FIELD=value`; here foreign text is made printable, and what is too much
 * for journald is cut.
 */
export abstract class Journal {
  readonly #sink: Sink;

  constructor(sink: Sink = journalSink(process.env)) {
    this.#sink = sink;
  }

  protected write(
    event: keyof typeof journalEventIds,
    { text, priority, fields = {} }: Said,
  ): void {
    const all: Entry['fields'] = {
      MESSAGE_ID: journalEventIds[event],
      MAIL_EVENT: event,
      ...fields,
    };
    const entries = Object.entries(all).map(([name, value]) => [name, fitting(value)]);
    const line = printable(`${text}${unnamed(text, fields['MAIL_RECIPIENT']) ? FIND : ''}`);
    this.#sink({ text: line, priority, fields: Object.fromEntries(entries) });
  }
}

function fitting(value: Entry['fields'][string]): Entry['fields'][string] {
  if (typeof value === 'string') return printable(value, limits.journalValueChars);
  return typeof value === 'object' ? fittingList(value) : value;
}

/** As many values as one field may have. Where values are left out, the last one counts them. */
function fittingList(values: readonly string[]): string[] {
  const kept: string[] = [];
  let bytes = 0;
  for (const value of values.slice(0, limits.journalValues)) {
    const shown = printable(value, limits.journalValueChars);
    bytes += Buffer.byteLength(shown);
    if (bytes > limits.journalValuesBytes) break;
    kept.push(shown);
  }
  const more = values.length - kept.length;
  return more === 0 ? kept : [...kept, `and ${more} more`];
}

/** Whether a recipient is in the fields alone: a line names the first few. */
function unnamed(text: string, recipients: Entry['fields'][string]): boolean {
  if (typeof recipients !== 'object' || recipients.length <= limits.namedRecipients) return false;
  return recipients.some((address) => !text.includes(`<${address}>`));
}

const FIND = '; to find the others: journalctl MAIL_RECIPIENT=ADDRESS';
