import { decodeAddress } from '../mail/address.ts';
import { countedStatus } from '../mail/enhanced-status.ts';
import { limits } from '../limits.ts';
import type { MessageState, RecipientState, Spool } from '../spool/spool.ts';
import { Ranking } from './ranking.ts';

/** Messages or recipients of one hour, or of all. */
export interface ReportCounts {
  /** Messages, and their size in bytes. */
  accepted: number;
  bytes: number;
  /** Recipients; each deferral counts. */
  sent: number;
  deferred: number;
  failed: number;
}

/** A message that stands out: in seconds, or in bytes. */
export interface NotableMessage {
  id: string;
  sender: string;
  value: number;
}

/** What happened in a time, from the history of the spool. Times are in milliseconds since 1970. */
export interface QueueReport {
  since: number;
  until: number;
  total: ReportCounts;
  hours: (ReportCounts & { at: number })[];
  senders: Ranking;
  domains: Ranking;
  deferrals: Ranking;
  failures: Ranking;
  /** Seconds from acceptance to delivery, of each recipient that was sent, sorted. */
  latencies: Float64Array;
  slowest: NotableMessage[];
  largest: NotableMessage[];
}

/**
 * Reads what happened since then from messages, recipients and history, which the spool keeps for 30 days. It reads a page
 * at a time, and so disturbs nobody; its memory is bounded, but for 8 bytes a recipient.
 */
export function queueReport(spool: Spool, since: number, until: number): QueueReport {
  const writer = new ReportWriter(since, until);
  for (const page of pages(spool)) writer.add(page);
  return writer.report();
}

interface MessageRow {
  seq: number;
  id: string;
  sender: Buffer;
  size: number;
  state: MessageState;
  queuedAt: number;
}

interface RecipientRow {
  message: number;
  address: Buffer;
  state: RecipientState;
  status: string | null;
  reason: string | null;
}

interface EventRow {
  message: number;
  at: number;
  status: string;
  reason: string;
}

interface Page {
  messages: MessageRow[];
  recipients: Map<number, RecipientRow[]>;
  events: Map<number, EventRow[]>;
}

function* pages(spool: Spool): Generator<Page> {
  const messages = spool.sql<MessageRow>(
    `SELECT seq, id, sender, size, state, queued_at AS queuedAt FROM message NOT INDEXED
     WHERE seq > ? ORDER BY seq LIMIT ${limits.shapePage}`,
  );
  const recipients = spool.sql<RecipientRow>(
    'SELECT message, address, state, status, reason FROM recipient WHERE message BETWEEN ? AND ?',
  );
  const events = spool.sql<EventRow>(
    `SELECT message, at, status, reason FROM history
     WHERE message BETWEEN ? AND ? AND what = 'attempt' ORDER BY message, number`,
  );
  for (let after = 0; ;) {
    const found = messages.all(after);
    const last = found.at(-1)?.seq;
    if (last === undefined) return;
    yield {
      messages: found,
      recipients: byMessage(recipients.all(after + 1, last)),
      events: byMessage(events.all(after + 1, last)),
    };
    after = last;
  }
}

function byMessage<Row extends { message: number }>(rows: readonly Row[]): Map<number, Row[]> {
  const found = new Map<number, Row[]>();
  for (const row of rows) {
    const list = found.get(row.message);
    if (list) list.push(row);
    else found.set(row.message, [row]);
  }
  return found;
}

class ReportWriter {
  readonly #since: number;
  readonly #until: number;
  readonly #hours = new Map<number, ReportCounts>();
  readonly #senders = new Ranking();
  readonly #domains = new Ranking();
  readonly #deferrals = new Ranking();
  readonly #failures = new Ranking();
  readonly #latencies: number[] = [];
  #slowest: NotableMessage[] = [];
  #largest: NotableMessage[] = [];

  constructor(since: number, until: number) {
    this.#since = since;
    this.#until = until;
  }

  add({ messages, recipients, events }: Page): void {
    for (const message of messages) {
      this.#addArrival(message);
      const attempts = events.get(message.seq) ?? [];
      for (const { at, status, reason } of attempts) {
        if (!status.startsWith('4') || !this.#isWithin(at)) continue;
        this.#hour(at).deferred += 1;
        this.#deferrals.add(reasonText(status, reason));
      }
      const endedAt = attempts.at(-1)?.at;
      if (endedAt === undefined || !this.#isWithin(endedAt)) continue;
      for (const each of recipients.get(message.seq) ?? [])
        this.#addOutcome(message, each, endedAt);
    }
    this.#slowest = top(this.#slowest);
    this.#largest = top(this.#largest);
  }

  report(): QueueReport {
    const hours = [...this.#hours].toSorted(([one], [two]) => one - two);
    const sum = (name: keyof ReportCounts) => hours.reduce((all, [, hour]) => all + hour[name], 0);
    return {
      since: this.#since,
      until: this.#until,
      total: {
        accepted: sum('accepted'),
        bytes: sum('bytes'),
        sent: sum('sent'),
        deferred: sum('deferred'),
        failed: sum('failed'),
      },
      hours: hours.map(([at, counts]) => ({ at, ...counts })),
      senders: this.#senders,
      domains: this.#domains,
      deferrals: this.#deferrals,
      failures: this.#failures,
      latencies: Float64Array.from(this.#latencies).toSorted(),
      slowest: this.#slowest,
      largest: this.#largest,
    };
  }

  #addArrival({ id, sender: octets, size, queuedAt }: MessageRow): void {
    if (!this.#isWithin(queuedAt)) return;
    const hour = this.#hour(queuedAt);
    hour.accepted += 1;
    hour.bytes += size;
    const sender = decodeAddress(octets);
    this.#senders.add(sender === '' ? '<>' : sender);
    this.#largest.push({ id, sender, value: size });
  }

  #addOutcome(
    { id, sender, queuedAt }: MessageRow,
    recipient: RecipientRow,
    endedAt: number,
  ): void {
    const { state, status, reason } = recipient;
    if (state === 'sent') {
      const seconds = Math.max(0, endedAt - queuedAt) / 1000;
      this.#hour(endedAt).sent += 1;
      this.#latencies.push(seconds);
      this.#slowest.push({ id, sender: decodeAddress(sender), value: seconds });
    } else if (state === 'failed' || state === 'bounced') {
      this.#hour(endedAt).failed += 1;
      this.#failures.add(reasonText(status ?? '', reason ?? ''));
    } else return;
    const address = decodeAddress(recipient.address);
    this.#domains.add(address.slice(address.lastIndexOf('@') + 1).toLowerCase());
  }

  #isWithin(at: number): boolean {
    return at >= this.#since && at < this.#until;
  }

  #hour(at: number): ReportCounts {
    const begin = Math.floor(at / HOUR) * HOUR;
    let hour = this.#hours.get(begin);
    if (!hour) {
      hour = { accepted: 0, bytes: 0, sent: 0, deferred: 0, failed: 0 };
      this.#hours.set(begin, hour);
    }
    return hour;
  }
}

/** A reason without the names and numbers that differ from message to message. */
function reasonText(status: string, reason: string): string {
  const plain = reason.replace(/<[^>]*>/g, '<…>').replace(/\b[0-9A-Fa-f]{6,}\b/g, '…');
  return `${countedStatus(status)} ${plain.slice(0, limits.reportReasonChars)}`;
}

function top(messages: readonly NotableMessage[]): NotableMessage[] {
  return messages.toSorted((one, two) => two.value - one.value).slice(0, limits.reportRows);
}

const HOUR = 3_600_000;
