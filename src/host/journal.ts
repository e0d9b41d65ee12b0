import { limits } from '../limits.ts';
import { printable } from '../mail/printable.ts';
import { journalSink, type Entry, type Sink } from './systemd/journal-sink.ts';

/**
 * One kind of entry in the journal, with all that is said of it: a program has one table of its events. The message
 * catalog (systemd/*.catalog) and the list in the manual page are made from the tables by test/unit/journal-events.test.ts.
 */
export interface JournalEvent {
  /** MESSAGE_ID: 32 hexadecimal digits from `systemd-id128 new`. It never changes. */
  id: string;
  priority: Entry['priority'];
  /** The line and the fields of an entry. Its parameters are those of the journal's method. */
  entry: (...about: never[]) => EntryContent;
  /** The catalog's subject, which `journalctl -x` shows below the line; @FIELD@ stands for the value of a field. */
  subject: string;
  /** The manual page about it, such as `appengine-mailer(8)`. */
  manual: string;
  /** The catalog's text: what the event means and what to do. */
  help: string;
}

/** What an event's own function says of one entry. `priority` replaces that of the event. */
type EntryContent = Pick<Entry, 'text'> & Partial<Entry>;

/** The events of a program, by their names in camel case. */
export type JournalEvents = Record<string, JournalEvent>;

/** What a program writes entries with: one method an event. */
export type Journal<Events extends JournalEvents> = {
  readonly [Name in keyof Events]: (...about: Parameters<Events[Name]['entry']>) => void;
};

/**
 * The journal of a program. Each entry has one line for a person, and fields for `journalctl FIELD=value`. Text from
 * elsewhere is made printable here, and what is too much for journald is cut. `prefix` begins the names of the events.
 */
export function openJournal<Events extends JournalEvents>(
  events: Events,
  { prefix = '', sink = journalSink(process.env) }: { prefix?: string; sink?: Sink | undefined },
): Journal<Events> {
  const methods = Object.entries(events).map(([name, event]) => {
    const eventName = journalEventName(name, prefix);
    return [name, (...about: never[]) => sink(entryOf(eventName, event, about))] as const;
  });
  return Object.fromEntries<unknown>(methods) as Journal<Events>;
}

/** The value of MAIL_EVENT: `spoolLogCut` is spool_log_cut. */
export function journalEventName(name: string, prefix = ''): string {
  return prefix + name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function entryOf(eventName: string, { id, priority, entry }: JournalEvent, about: never[]): Entry {
  const { text, fields = {}, priority: own = priority } = entry(...about);
  const all: Entry['fields'] = { MESSAGE_ID: id, MAIL_EVENT: eventName, ...fields };
  const entries = Object.entries(all).map(([name, value]) => [name, fitting(value)]);
  const line = printable(`${text}${unnamed(text, fields['MAIL_RECIPIENT']) ? FIND : ''}`);
  return { text: line, priority: own, fields: Object.fromEntries(entries) };
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
