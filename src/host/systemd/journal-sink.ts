import { isJournal, stderrLine } from '../stderr-line.ts';
import { unixDatagrams } from './unix-datagram.ts';

/** Priorities of syslog(3) that are used here. */
export const priorities = { error: 3, warning: 4, notice: 5, info: 6 } as const;

/**
 * One entry of the journal: MESSAGE and its other fields. An undefined field is left out, and a list is the field
 * repeated.
 */
export interface Entry {
  text: string;
  priority: (typeof priorities)[keyof typeof priorities];
  fields: Record<string, string | number | readonly string[] | undefined>;
}

export type Sink = (entry: Entry) => void;

/**
 * Where entries go: to systemd's journal with their fields, when standard error is
 * connected to it; otherwise their text goes to standard error.
 */
export function journalSink(environment: NodeJS.ProcessEnv): Sink {
  return isJournal(environment) ? nativeSink() : stderrSink;
}

const stderrSink: Sink = ({ text }) => stderrLine(text);

/**
 * Datagrams of systemd's native journal protocol. An entry that cannot be sent as one goes to standard error with its
 * priority: when the journal does not take it now, or when this machine lacks koffi, which is optional.
 */
function nativeSink(): Sink {
  const { send } = unixDatagrams('/run/systemd/journal/socket');
  return (entry) => {
    if (send(encodeEntry(entry))) stderrLine(entry.text, `<${entry.priority}>`);
  };
}

/** KEY=value lines; a value with line breaks has its length before it. */
export function encodeEntry({ text, priority, fields }: Entry): Buffer {
  const all = {
    MESSAGE: text,
    PRIORITY: priority,
    SYSLOG_IDENTIFIER: 'appengine-mailer',
    SYSLOG_FACILITY: MAIL,
    ...fields,
  };
  const pairs = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((each) => [name, String(each)] as const),
  );
  const hasLineBreak = pairs.some(([, value]) => value.includes('\n'));
  if (hasLineBreak) return Buffer.concat(pairs.map(encodeField));
  // One buffer takes a fraction of the time that one for each field takes, and there is an entry for each attempt.
  return Buffer.from(pairs.map(lineOf).join(''));
}

function lineOf([name, value]: readonly [string, string]): string {
  return `${name}=${value}\n`;
}

function encodeField(field: readonly [string, string]): Buffer {
  const [name, value] = field;
  if (!value.includes('\n')) return Buffer.from(lineOf(field));
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, LF]);
}

/** The facility of syslog(3), without its shift: mail.* rules and /var/log/mail.log see it. */
const MAIL = 2;
const LF = Buffer.from('\n');
