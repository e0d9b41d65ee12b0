import { mkdtempSync, rmSync } from 'node:fs';
import Database from '../../src/sqlite/better-sqlite3.ts';
import type { Entry } from '../../src/host/systemd/journal-sink.ts';
import type { OpenFiles } from '../../src/sqlite/open-files.ts';
import { operate } from '../../src/spool/operate.ts';
import { Laws } from './laws.ts';
import { Network, type SimSocket } from './network.ts';
import { CrashError, Program } from './program.ts';
import { Random } from './random.ts';
import { SimHost } from './sim-host.ts';
import { SimProxy } from './sim-proxy.ts';
import { serveSmtp, type Answer, type Step } from './smtp-server.ts';
import { calm, faultsEnd, proxiesOf, type Happening, type Mood, type Story } from './story.ts';
import { WallClock } from './wall-clock.ts';
import { VirtualTime } from './virtual-time.ts';

/** The wall clock when a world begins. */
const BEGINNING = Date.UTC(2026, 0, 1);

/** What came of a world. */
export interface Ending {
  /** The law that was broken, and how; undefined when none was. */
  fault: string | undefined;
  virtualMs: number;
  messages: number;
  copies: number;
  crashes: number;
  events: number;
}

/** Plays a story to its end. `tell` hears what happens, line by line. */
export async function playStory(
  story: Story,
  tell: (line: string) => void = () => {},
): Promise<Ending> {
  const world = new World(story, tell);
  try {
    return await world.play();
  } finally {
    world.end();
  }
}

export class World {
  readonly story: Story;
  readonly time = new VirtualTime();
  readonly network: Network;
  readonly folder: string;
  readonly laws: Laws;
  readonly #random: Random;
  readonly #tell: (line: string) => void;
  readonly #hosts: SimHost[];
  readonly #proxies: SimProxy[];
  readonly #moods = new Map<string, Mood>();
  readonly #full = new Set<string>();
  /** Open sessions of relays and mail servers. */
  readonly #sessions = new Map<string, Set<SimSocket>>();
  /** Commits that a program has left until it crashes, by its name. */
  readonly #crashAt = new Map<string, { commits: number; when: 'before' | 'after' }>();
  #programs = 0;
  /** When a program last died. */
  #diedAt = -1;
  #copies = 0;
  #crashes = 0;
  #ids = 0;
  #mails = 0;
  #fault: string | undefined;

  constructor(story: Story, tell: (line: string) => void) {
    this.story = story;
    this.#tell = tell;
    this.laws = new Laws(story, () => this.time.now);
    this.#random = new Random(story.seed ^ 0x5eed);
    this.network = new Network(this.time, new Random(story.seed ^ 0x7e7));
    this.folder = mkdtempSync('/dev/shm/appengine-mailer-world-');
    this.#proxies = Array.from({ length: story.proxies }, (_, n) => {
      const addresses = [`10.0.1.${n}:8025`, `10.0.3.${n}:8025`].slice(0, story.several ? 2 : 1);
      const relay = `10.0.2.${n}:25`;
      for (const address of addresses) {
        this.network.latencyMs.set(address, story.latencyMs.proxies[n] ?? 1);
      }
      this.network.latencyMs.set(relay, story.latencyMs.relays[n] ?? 1);
      this.network.listen(relay, { accept: (socket) => this.#serve(socket, `relay${n}`) });
      return new SimProxy(this, `proxy${n}`, { addresses, relay });
    });
    this.#hosts = story.hosts.map((_, n) => {
      const host = new SimHost(this, `host${n}`);
      this.network.listen(`mail.host${n}:25`, {
        accept: (socket) => this.#serve(socket, `mail.host${n}`),
      });
      return host;
    });
  }

  async play(): Promise<Ending> {
    const onRejection = (error: unknown) => {
      // The rest of what a program was doing when it died fails at its database, in the same moment.
      if (error instanceof CrashError || this.#diedAt === this.time.now) return;
      this.#fault ??= `a program fails: ${error instanceof Error ? error.stack : String(error)}`;
    };
    process.on('unhandledRejection', onRejection);
    let events = 0;
    try {
      for (const [n, proxy] of this.#proxies.entries()) {
        proxy.start(this.#hosts.filter((_, host) => proxiesOf(this.story, host).includes(n)));
      }
      for (const host of this.#hosts) host.start();
      for (const happening of this.story.happenings) {
        if (happening.kind === 'restore') {
          this.time.at(happening.at - happening.agoMs, () => this.#hosts[happening.host]?.backUp());
        }
        this.time.at(happening.at, () => this.#happen(happening));
      }
      const over = faultsEnd(this.story);
      const end = over + END_MS;
      while (this.#fault === undefined && (await this.time.step(end))) {
        this.#fault = this.laws.broken;
        events += 1;
        if (events > EVENTS_MAX) this.#fault ??= `law 7: ${EVENTS_MAX} events, and no end`;
        if (events % 64 === 0 && this.time.now > over && this.#allEnded()) break;
      }
      this.#readUnknown();
      this.laws.end(this.#hosts);
      this.#fault ??= this.laws.broken;
    } catch (error) {
      this.#fault ??= String((error as Error).stack);
    } finally {
      process.off('unhandledRejection', onRejection);
    }
    return {
      fault: this.#fault,
      virtualMs: this.time.now,
      messages: this.laws.messages.length,
      copies: this.#copies,
      crashes: this.#crashes,
      events,
    };
  }

  end(): void {
    for (const each of [...this.#hosts, ...this.#proxies]) each.program?.kill();
    for (const host of this.#hosts) host.spool.db.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  newWallClock(): WallClock {
    return new WallClock(this.time, BEGINNING);
  }

  newId(): string {
    this.#ids += 1;
    return this.#ids.toString(16).padStart(32, '0');
  }

  machineOf({ name, wall }: { name: string; wall: WallClock }): Program {
    this.#programs += 1;
    const seed = this.story.seed * 1009 + this.#programs;
    const program = new Program(name, {
      time: this.time,
      network: this.network,
      seed,
      wall: wall.now,
    });
    program.onDeath(() => {
      this.#diedAt = this.time.now;
    });
    return program;
  }

  /** The addresses of a host's proxies, in the order in which it names them. */
  proxyAddresses(host: SimHost): readonly string[] {
    const numbers = proxiesOf(this.story, this.#hosts.indexOf(host));
    return numbers.flatMap((number) => this.#proxies[number]?.addresses ?? []);
  }

  log(who: string, text: string): void {
    this.#tell(`${timeText(this.time.now)} ${who}: ${text}`);
  }

  /** A line of a program's journal. */
  told(program: { name: string }, entry: Entry): void {
    this.log(program.name, entry.text);
    this.laws.told(program, entry);
  }

  /** Has the program's commits fail while its disk is full, and kills it at the one at which it is to crash. */
  crashable(
    program: Program,
    files: OpenFiles,
    { crash, committed }: { crash: () => void; committed: () => void },
  ): void {
    const original = files.transaction.bind(files);
    const { name } = program;
    files.transaction = (action) => {
      if (!program.isAlive) throw new CrashError('it is dead');
      const plan = this.#crashAt.get(name);
      if (plan) plan.commits -= 1;
      const isNow = plan !== undefined && plan.commits <= 0;
      const die = () => {
        this.#crashAt.delete(name);
        this.#crashes += 1;
        this.log(name, `it crashes ${plan?.when} a commit`);
        crash();
        throw new CrashError('it crashes');
      };
      if (isNow && plan.when === 'before') {
        return original(() => {
          action();
          return die();
        });
      }
      if (this.#full.has(name)) {
        throw new Database.SqliteError('database or disk is full', 'SQLITE_FULL');
      }
      const result = original(action);
      committed();
      if (isNow) die();
      return result;
    };
  }

  #happen(happening: Happening): void {
    if (happening.kind !== 'mail') this.log('world', JSON.stringify(happening));
    switch (happening.kind) {
      case 'mail':
        return this.#mail(happening);
      case 'network': {
        const address = this.#addressOf(happening.where);
        this.network.fail(address, happening.fault);
        this.time.at(this.time.now + happening.forMs, () => this.network.heal(address));
        return;
      }
      case 'kill':
        this.#crashes += 1;
        return this.#named(happening.who)?.kill(happening.startsAfterMs);
      case 'restart':
        return this.#hosts[happening.host]?.restart();
      case 'suspend':
        return this.#named(happening.who)?.program?.suspend(happening.forMs);
      case 'crash':
        this.#crashAt.set(happening.who, { commits: happening.commits, when: happening.when });
        return;
      case 'clock': {
        const machine = this.#named(happening.who);
        machine?.wall.change(happening.byMs, happening.drift);
        return;
      }
      case 'full':
        this.#full.add(happening.who);
        this.time.at(this.time.now + happening.forMs, () => this.#full.delete(happening.who));
        return;
      case 'mood':
        this.#moods.set(happening.where, happening.mood);
        this.time.at(this.time.now + happening.forMs, () => {
          if (this.#moods.get(happening.where) === happening.mood)
            this.#moods.delete(happening.where);
        });
        return;
      case 'vanish':
        return this.#proxies[happening.proxy]?.loseLedger();
      case 'restore':
        return this.#hosts[happening.host]?.restore();
      case 'operator':
        return this.#operator(happening);
    }
  }

  #mail({ host, messages, recipients, nullSender }: Extract<Happening, { kind: 'mail' }>): void {
    const on = this.#hosts[host];
    if (!on) return;
    for (let n = 0; n < messages; n += 1) {
      const name = `m${this.#mails}`;
      this.#mails += 1;
      const to = Array.from({ length: recipients }, (_, r) => `${name}-r${r}@example.org`);
      const sender = nullSender ? '' : `sender${n % 3}@${on.name}.example`;
      const bytes = Buffer.from(`X-Sim: ${name}\nSubject: ${name}\n\nIt is message ${name}.\n`);
      on.accept(name, sender, to, bytes);
    }
    this.log(on.name, `${messages} messages are handed over`);
  }

  #operator({ host, verb }: Extract<Happening, { kind: 'operator' }>): void {
    const on = this.#hosts[host];
    if (!on) return;
    const messages = this.laws.messages.filter((each) => each.host === on);
    const message = messages[this.#random.below(Math.max(1, messages.length))];
    if (!message) return;
    const outcome = operate(on.spool, message.id, { verb, now: on.spool.now() });
    // Exim takes it at once.
    if (verb === 'return') operate(on.spool, message.id, { verb: 'returned', now: on.spool.now() });
    this.log(on.name, `the operator's ${verb} of ${message.eximId}: ${JSON.stringify(outcome)}`);
    this.laws.decided(message.eximId);
    on.wake();
  }

  #serve(socket: SimSocket, name: string): void {
    const mood = () => this.#moods.get(name) ?? calm;
    const sessions = this.#sessions.get(name) ?? new Set();
    this.#sessions.set(name, sessions.add(socket));
    socket.once('close', () => sessions.delete(socket));
    this.laws.connected(name, sessions.size);
    serveSmtp(socket, {
      time: this.time,
      answer: (step, about) => this.#answer(step, about, mood(), name),
      took: (recipients, bytes) => {
        if (name.startsWith('relay')) this.#delivered(name, recipients, bytes);
        else this.#reported(bytes);
      },
    });
  }

  #answer(
    step: Step,
    { recipient, recipients }: { recipient?: string; recipients: readonly string[] },
    mood: Mood,
    name: string,
  ): Answer {
    const random = this.#random;
    const afterMs = Math.floor(random.next() * mood.slowMs * (SHARES[step] ?? 1));
    const isFull = (this.#sessions.get(name)?.size ?? 0) > mood.connections;
    if (step === 'greeting' && isFull) return { afterMs, reply: '421 4.7.0 too many connections' };
    if (random.chance(mood.closes)) return { afterMs, reply: 'close' };
    if (random.chance(mood.silent)) return { afterMs, reply: 'nothing' };
    if (random.chance(mood.temporary))
      return { afterMs, reply: step === 'greeting' ? '421 4.3.2 not now' : '451 4.3.0 not now' };
    if (
      name.startsWith('relay') &&
      (step === 'RCPT' || step === 'dot') &&
      random.chance(mood.permanent)
    ) {
      const refused = step === 'RCPT' ? [recipient ?? ''] : recipients;
      for (const each of refused) this.laws.refused(each);
      return { afterMs, reply: '550 5.1.1 no such user' };
    }
    return { afterMs, reply: REPLIES[step] };
  }

  #delivered(relay: string, recipients: readonly string[], bytes: Buffer): void {
    const eximId = /^X-Sim: (\S+)/m.exec(bytes.toString('latin1'))?.[1] ?? '';
    for (const recipient of recipients) {
      this.#copies += 1;
      this.laws.taken(eximId, recipient);
    }
    this.log(relay, `it takes ${eximId} for ${recipients.join(', ')}`);
  }

  /** A mail server of a host took a report: of one message (RFC 3464), or a summary in plain text. */
  #reported(bytes: Buffer): void {
    const text = bytes.toString('latin1');
    const isSummary = !text.includes('multipart/report');
    const [failed = '', delayed = ''] = isSummary
      ? text.split(/^These messages are delayed/m)
      : text.includes('\r\nAction: failed')
        ? [text]
        : ['', text];
    const named = (part: string) =>
      new Set(
        part.match(
          isSummary ? /^ {2}m\d+-r\d+@\S+(?=\r$)/gm : /(?<=^Final-Recipient: rfc822; ?)\S+/gm,
        ),
      );
    for (const address of named(failed)) this.laws.reported(address.trim(), 'failure');
    for (const address of named(delayed)) this.laws.reported(address.trim(), 'delay');
  }

  #allEnded(): boolean {
    if (this.#proxies.some(({ program }) => program === undefined)) return false;
    return this.#hosts.every((host) => {
      const { count } = host.spool.db
        .prepare<[], { count: number }>(
          `SELECT count(*) AS count FROM message WHERE state IN ('queued', 'sending')
          OR (state = 'failed' AND sender <> x'')`,
        )
        .get() ?? { count: 0 };
      return count === 0 && host.isRunning;
    });
  }

  #readUnknown(): void {
    for (const proxy of this.#proxies) {
      const db = new Database(proxy.ledgerFile);
      const rows = db
        .prepare<[], { message: string; address: string }>('SELECT message, address FROM unknown')
        .all();
      for (const { message, address } of rows) {
        const id = message.split('/').at(-1) ?? '';
        this.laws.unknown(id, address);
      }
      db.close();
    }
  }

  #named(name: string): SimHost | SimProxy | undefined {
    return [...this.#hosts, ...this.#proxies].find((each) => each.name === name);
  }

  #addressOf(where: string): string {
    for (const { name, addresses } of this.#proxies) {
      const address = addresses[[name, `${name}-b`].indexOf(where)];
      if (address !== undefined) return address;
    }
    if (where.startsWith('relay')) return `10.0.2.${where.slice('relay'.length)}:25`;
    return `${where}:25`;
  }
}

const REPLIES: Record<Step, string> = {
  greeting: '220 relay ESMTP',
  EHLO: '250-relay\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8',
  MAIL: '250 2.1.0 ok',
  RCPT: '250 2.1.5 ok',
  DATA: '354 go on',
  dot: '250 2.0.0 taken',
  other: '250 2.0.0 ok',
};

/** Of the time of other steps: RFC 5321 4.5.3.2 gives them 5 minutes, DATA 2 and the dot 10. */
const SHARES: Partial<Record<Step, number>> = { DATA: 0.4, dot: 2 };

/** After the last fault everything has to have ended within this. */
const END_MS = 12 * 3_600_000;
const EVENTS_MAX = 300_000;

function timeText(ms: number): string {
  const [days, rest] = [Math.floor(ms / 86_400_000), ms % 86_400_000];
  return `${days} ${new Date(rest).toISOString().slice(11, 23)}`;
}
