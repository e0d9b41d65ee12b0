import type { Entry } from '../../src/host/systemd/journal-sink.ts';
import { limits } from '../../src/limits.ts';
import { stats } from '../../src/spool/stats.ts';
import type { SimHost } from './sim-host.ts';
import { proxiesOf, UNLIMITED, type Happening, type Story } from './story.ts';

/** A message that a host has taken. */
interface Accepted {
  host: SimHost;
  id: string;
  eximId: string;
  sender: string;
  recipients: readonly string[];
  at: number;
}

/** What the world saw of one recipient of one message. */
interface Seen {
  /** How often a relay took it, and refused it for good. */
  copies: number;
  refusals: number;
  /** How often its sender was told that it failed. */
  reports: number;
  /** An operator's command, or a restored backup, decided about it. */
  decided: boolean;
}

/** A recipient as its spool has it at the end. */
interface Row {
  messageState: string;
  state: string;
  address: Buffer;
  status: string | null;
  reason: string | null;
}

/** Keeps the books of a world, from what happens outside of the programs, and finds out which law is broken. */
export class Laws {
  readonly #story: Story;
  readonly #now: () => number;
  readonly #messages = new Map<string, Accepted>();
  readonly #seen = new Map<string, Seen>();
  /** How often a recipient of a message is listed as unknown: by `ID ADDRESS`. */
  readonly #unknown = new Map<string, number>();
  #lines = 0;
  #broken: string | undefined;

  constructor(story: Story, now: () => number) {
    this.#story = story;
    this.#now = now;
  }

  /** The law that was broken first, by its number, and how. (A program that is told of it would go on.) */
  get broken(): string | undefined {
    return this.#broken;
  }

  get messages(): readonly Accepted[] {
    return [...this.#messages.values()];
  }

  accepted(message: Omit<Accepted, 'at'>): void {
    this.#messages.set(message.eximId, { ...message, at: this.#now() });
  }

  /** A backup was restored that is older than these messages: they are gone with the operator's consent. */
  forgotten(eximIds: readonly string[]): void {
    for (const eximId of eximIds) this.#messages.delete(eximId);
  }

  taken(eximId: string, recipient: string): void {
    this.#of(eximId, recipient).copies += 1;
  }

  refused(recipient: string): void {
    this.#of(eximIdOf(recipient), recipient).refusals += 1;
  }

  decided(eximId: string): void {
    for (const recipient of this.#messages.get(eximId)?.recipients ?? []) {
      this.#of(eximId, recipient).decided = true;
    }
  }

  /** The mail server of a host took a report about a recipient. */
  reported(recipient: string, kind: 'failure' | 'delay'): void {
    const eximId = eximIdOf(recipient);
    if (kind === 'failure') this.#of(eximId, recipient).reports += 1;
    const message = this.#messages.get(eximId);
    if (!message) return;
    if (message.sender === '') this.#break(`law 9: a report of a report: ${eximId}`);
    const ageMs = this.#now() - message.at;
    if (kind === 'delay' && ageMs < FIRST_WARNING_MS) {
      this.#break(`law 12: ${eximId} is ${ageMs} ms old, and its sender was warned`);
    }
  }

  /** A line of a program's journal. */
  told(program: { name: string }, { fields, text }: Entry): void {
    this.#lines += 1;
    if (fields['MAIL_EVENT'] !== 'endpoint_down') return;
    const host = Number(program.name.slice('host'.length));
    if (!this.#befell(host, mayLookDown)) {
      this.#break(`law 13: the endpoint of ${program.name} is called down: ${text}`);
    }
  }

  unknown(id: string, recipient: string): void {
    const key = `${id} ${recipient}`;
    this.#unknown.set(key, (this.#unknown.get(key) ?? 0) + 1);
  }

  /** Law 8, at every commit of drain. */
  sum(host: SimHost): void {
    const { accepted, ...rest } = stats(host.spool).counters;
    const sum = Object.values(rest).reduce((total, each) => total + each, 0);
    if (sum === accepted) return;
    this.#break(`law 8: ${accepted} accepted, and ${JSON.stringify(rest)}`);
  }

  /** A program has opened a connection; there are so many to this address now. */
  connected(address: string, open: number): void {
    if (open <= CONNECTIONS_MAX) return;
    this.#break(`limits: ${open} connections to ${address}`);
  }

  /** When the world ends, every message has ended, and each recipient as it should. */
  end(hosts: readonly SimHost[]): void {
    for (const host of hosts) {
      this.sum(host);
      const { accepted } = stats(host.spool).counters;
      const given = this.messages.filter((each) => each.host === host).length;
      if (accepted !== given) {
        this.#break(`law 7: ${host.name} took ${given} messages and knows ${accepted}`);
      }
    }
    const recipients = this.messages.flatMap((message) => message.recipients).length;
    const linesMax =
      LINES_MIN + recipients * LINES_RECIPIENT + (this.#now() / HOUR_MS) * LINES_HOUR;
    if (this.#lines > linesMax) {
      this.#break(`limits: ${this.#lines} lines for ${recipients} recipients`);
    }
    for (const message of this.messages) {
      const rows = message.host.spool
        .sql<Row>(
          `SELECT message.state AS messageState, recipient.state, recipient.address,
             recipient.status, recipient.reason
           FROM message JOIN recipient ON recipient.message = message.seq WHERE message.id = ?`,
        )
        .all(message.id);
      if (rows.length !== message.recipients.length) {
        this.#break(`law 7: ${message.eximId} is lost`);
      }
      for (const row of rows) this.#requireEnded(message, row);
    }
  }

  #requireEnded(message: Accepted, row: Row): void {
    const address = row.address.toString();
    const seen = this.#of(message.eximId, address);
    const { copies, refusals, reports, decided } = seen;
    const unknown = this.#unknown.get(`${message.id} ${address}`) ?? 0;
    const { host } = message;
    const { happenings } = this.#story;
    const number = Number(host.name.slice('host'.length));
    const isEnd = row.state === 'bounced' || row.state === 'failed';
    const isTold = isEnd && message.sender !== '';
    const answersMayBeLost = this.#befell(number, mayLoseAnswer);
    const mayForget = this.#befell(number, mayForgetSent);
    const reportsMayRepeat = happenings.some((each) => mayRepeatReport(each, host.name));
    const faults: [boolean, string][] = [
      [
        copies > 1 + unknown && !mayForget,
        'law 6: it was sent twice, and is not listed as unknown',
      ],
      [unknown > 0 && !answersMayBeLost, 'law 13: it is listed as unknown, and no answer was lost'],
      [!decided && row.state === 'pending', 'law 7: it is stuck'],
      [row.state === 'sent' && copies === 0, 'law 7: it is lost'],
      [!decided && isEnd && refusals === 0, 'law 5: nobody refused it'],
      [!decided && isTold && reports === 0, 'law 9: its sender was not told'],
      [!decided && !isEnd && reports > 0, 'law 5: its sender was told that it failed'],
      [!decided && reports > 1 && !reportsMayRepeat, 'law 9: its sender was told twice'],
    ];
    const fault = faults.find(([isBroken]) => isBroken);
    if (!fault) return;
    const what = `${message.eximId} <${address}> is ${row.messageState}, ${row.state}`;
    const said = `${row.status} ${row.reason}, unknown ${unknown}, seen ${JSON.stringify(seen)}`;
    this.#break(`${fault[1]}: ${what}, ${said}`);
  }

  /** Whether something of this kind happens to one of the proxies that a host names. */
  #befell(host: number, kind: (happening: Happening, proxy: number) => boolean): boolean {
    const proxies = proxiesOf(this.#story, host);
    return this.#story.happenings.some((each) => proxies.some((proxy) => kind(each, proxy)));
  }

  #break(text: string): void {
    this.#broken ??= text;
  }

  #of(eximId: string, recipient: string): Seen {
    const key = `${eximId} ${recipient}`;
    let seen = this.#seen.get(key);
    if (!seen) {
      seen = { copies: 0, refusals: 0, reports: 0, decided: false };
      this.#seen.set(key, seen);
    }
    return seen;
  }
}

/** The Exim id of the message that an address of the world is a recipient of. */
function eximIdOf(recipient: string): string {
  return recipient.split('-')[0] ?? '';
}

/** Whether the proxy loses what it knows. */
function mayForgetSent(happening: Happening, proxy: number): boolean {
  return happening.kind === 'vanish' && happening.proxy === proxy;
}

/** Whether it may take the relay's answer to a whole message from a proxy, or the proxy from its memory. */
function mayLoseAnswer(happening: Happening, proxy: number): boolean {
  const { kind } = happening;
  if (kind === 'kill' || kind === 'crash') return happening.who === `proxy${proxy}`;
  if (kind === 'vanish') return happening.proxy === proxy;
  if (kind === 'network') return happening.where === `relay${proxy}`;
  if (kind !== 'mood' || happening.where !== `relay${proxy}`) return false;
  return happening.mood.closes + happening.mood.silent > 0;
}

/** Whether a host may hand a report over again, since it does not know that it was taken. */
function mayRepeatReport(happening: Happening, host: string): boolean {
  const { kind } = happening;
  if (kind === 'kill' || kind === 'crash') return happening.who === host;
  if (kind === 'network' || kind === 'mood') return happening.where === `mail.${host}`;
  return kind === 'restore';
}

/** Whether drain may rightly call its endpoint down. Slowness is no reason, nor is anything that happens to the host. */
function mayLookDown(happening: Happening, proxy: number): boolean {
  const { kind } = happening;
  if (kind === 'network') {
    return [`proxy${proxy}`, `proxy${proxy}-b`, `relay${proxy}`].includes(happening.where);
  }
  if (kind === 'kill' || kind === 'crash' || kind === 'full' || kind === 'suspend') {
    return happening.who === `proxy${proxy}`;
  }
  if (kind === 'vanish') return happening.proxy === proxy;
  if (kind !== 'mood' || happening.where !== `relay${proxy}`) return false;
  const { temporary, closes, silent, connections } = happening.mood;
  return temporary + closes + silent > 0 || connections < UNLIMITED;
}

const HOUR_MS = 3_600_000;
/** No sender is warned of what is younger. */
const FIRST_WARNING_MS = 4 * HOUR_MS;

/** Connections to one address: the posts in flight and those that ask, of three hosts, and some that are being closed. */
const CONNECTIONS_MAX = 3 * (limits.inFlight + limits.asked + 12);

/** What the journals of a world may have: at all, for each recipient, and an hour. */
const LINES_MIN = 500;
const LINES_RECIPIENT = 60;
const LINES_HOUR = 300;
