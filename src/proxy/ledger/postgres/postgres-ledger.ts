import { sleep, type Clock } from '../../../host/clock.ts';
import { untilAborted } from '../../../host/until-aborted.ts';
import { limits } from '../../../limits.ts';
import { statuses } from '../../../mail/enhanced-status.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import type { FigureStore } from '../figure-store.ts';
import { DigestConflictError, type Known, type Ledger, type Settlement } from '../ledger.ts';
import { storedName, type MessageName } from '../message-name.ts';
import { pruneLedgerLoop } from '../prune-ledger-loop.ts';
import { Batcher } from './batcher.ts';
import { Bell } from './bell.ts';
import { columns } from './columns.ts';
import { LookLoop } from './look-loop.ts';
import { postgresFault, PostgresLostError } from './postgres-error.ts';
import { PostgresFigures } from './postgres-figures.ts';
import { PostgresLink, type LinkOptions, type Recipients } from './postgres-link.ts';
import type { Statement } from './postgres-session.ts';
import { SharedPace } from './shared-pace.ts';
import { sql } from './statements.ts';
import { isStorable, storable } from './storable.ts';

/** What a ledger in PostgreSQL is opened with. */
export interface PostgresLedgerOptions extends Omit<LinkOptions, 'notified'> {
  id: string;
  isEmpty: boolean;
  unknown: { listed: number; found: number };
  /** For how long a proxy may be silent before what it was sending is listed as unknown. */
  takeOverMs: number;
}

/**
 * The ledger of several proxies, in PostgreSQL. An INSERT decides who sends a recipient; the others wait. Each proxy
 * shows regularly that it is alive (LookLoop): when it has not done so for `takeOverMs`, what it had begun is listed as
 * unknown. Without a connection nothing is begun, and what was begun is settled when there is one again. If the others have
 * taken this proxy for dead, it can still record that a recipient was sent, unless another proxy has begun it anew. Many posts share a statement and its commit.
 */
export class PostgresLedger implements Ledger {
  readonly id: string;
  readonly name: string;
  readonly clock: Clock;
  readonly isEmpty: boolean;
  readonly unknown: { listed: number; found: number };
  readonly #options: PostgresLedgerOptions;
  readonly #bell = new Bell();
  readonly #link: PostgresLink;
  readonly #pace: SharedPace;
  readonly #lookUps: Batcher<LookUp, Remembered>;
  readonly #begins: Batcher<Begin, Set<string>>;
  readonly #settles: Batcher<Settled, string[]>;

  constructor(options: PostgresLedgerOptions) {
    this.id = options.id;
    this.name = options.name;
    this.clock = options.clock;
    this.isEmpty = options.isEmpty;
    this.unknown = options.unknown;
    this.#options = options;
    this.#link = new PostgresLink({ ...options, notified: (message) => this.#bell.ring(message) });
    this.#pace = new SharedPace(this.#link, options.clock);
    this.#lookUps = new Batcher(async (asked) => this.#lookUpAll(asked), {
      sizeOf: ({ names, addresses }) => names.length * (1 + addresses.length),
    });
    this.#begins = new Batcher(async (posts) => this.#beginAll(posts), {
      keyOf: ({ name }) => name,
      sizeOf: ({ addresses }) => 1 + addresses.length,
    });
    this.#settles = new Batcher(async (all) => this.#settleAll(all), {
      keyOf: ({ name }) => name,
      sizeOf: ({ settled }) => settled.length,
    });
  }

  figures(proxy: string): FigureStore {
    return new PostgresFigures(proxy, this.clock, async (statement, values) =>
      this.#link.query('house', statement, values),
    );
  }

  async known(
    message: MessageName,
    addresses: readonly string[],
    digest?: Buffer,
  ): Promise<Map<string, Known>> {
    const found = await this.#lookUp(message, addresses, digest);
    return this.#knownOf(found.filter(({ state }) => state !== 'ended'));
  }

  async begin(
    message: MessageName,
    digest: Buffer,
    addresses: readonly string[],
  ): Promise<Map<string, Known>> {
    const post = { name: storedName(message), id: message.id, digest, addresses };
    const begun = await this.#begins.add(post).catch((error: Error) => {
      if (error instanceof PostgresLostError) this.#link.withdrawLater(post);
      throw error;
    });
    const others = addresses.filter((address) => !begun.has(address));
    if (others.length === 0 && addresses.length > 0) return new Map();
    try {
      await this.#link.requireOwner('begin', sql.owner);
      const known = await this.known(message, others, digest);
      // `outcomes` finds the verdict where the other proxy has just settled it.
      return new Map(others.map((address) => [address, known.get(address) ?? 'elsewhere']));
    } catch (error) {
      const withdrawn = [...begun].map((address) => ({ address, kind: 'withdrawn' as const }));
      // Where it fails, they are uncertain.
      await this.settle(message, withdrawn).catch(() => {});
      throw error;
    }
  }

  async settle(message: MessageName, settled: readonly Settlement[]): Promise<string[]> {
    if (settled.length === 0) return [];
    const name = storedName(message);
    return this.#settles.add({ name, settled }).catch((error: Error) => {
      const withdrawn = settled.filter(({ kind }) => kind === 'withdrawn');
      if (withdrawn.length > 0) {
        // Nobody tries again to withdraw them but the next session.
        this.#link.withdrawLater({ name, addresses: withdrawn.map(({ address }) => address) });
        this.#link.session?.end(error);
      }
      throw error;
    });
  }

  async outcomes(
    message: MessageName,
    addresses: readonly string[],
    timeUp: AbortSignal,
    digest?: Buffer,
  ): Promise<Map<string, Known>> {
    const known = await Promise.race([
      this.#whenSettled(message, addresses, timeUp, digest),
      untilAborted(timeUp),
    ]);
    return known ?? new Map(addresses.map((address) => [address, 'elsewhere']));
  }

  async changePace<T>(
    change: (text: string, now: number) => { text: string; result: T },
  ): Promise<T> {
    return this.#pace.change(change);
  }

  async check(): Promise<void> {
    await this.#link.requireOwner('house', sql.check);
  }

  async prune(): Promise<boolean> {
    const [clock] = await this.#link.query<{ now: number }>('house', sql.now, []);
    const forget = async (statement: Statement, ageMs: number) => {
      const before = (clock?.now ?? 0) - ageMs;
      const [old] = await this.#link.query<{ count: number }>('house', statement, [before]);
      return old?.count ?? 0;
    };
    const counts = [
      await forget(sql.forgetMessages, limits.historyMs),
      await forget(sql.forgetUnknown, limits.historyMs),
      await forget(sql.forgetRanges, limits.historyMs),
      await forget(sql.forgetEnded, limits.unheardMs),
      await forget(sql.forgetFigures, limits.historyMs),
    ];
    return counts.some((count) => count >= limits.purgeRows);
  }

  faultText(error: Error): string {
    return `${this.name}: ${postgresFault(error)}`;
  }

  async tend(journal: ProxyJournal, stop: AbortSignal): Promise<undefined> {
    const { takeOverMs } = this.#options;
    const looks = new LookLoop(this.clock, { takeOverMs, ledger: this.name, journal });
    const looking = looks.run(() => this.#link.session, stop);
    await Promise.all([looking, pruneLedgerLoop(this, journal, stop)]);
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  /** What is known of these recipients by any name of the message; with their digest, since it has to be the same. */
  async #lookUp(
    { key, id }: MessageName,
    addresses: readonly string[],
    digest: Buffer | undefined,
  ): Promise<Found[]> {
    const name = storedName({ key, id });
    const names = key !== '' && digest ? [id, name] : [name];
    const storables = addresses.filter(isStorable);
    const { digests, recipients } = await this.#lookUps.add({ names, addresses: storables });
    const own = digests.get(name);
    if (own && digest && !own.equals(digest) && !own.equals(LOST_DIGEST)) {
      throw new DigestConflictError(id);
    }
    const isSame = digest && digests.get(id)?.equals(digest);
    return names.flatMap((each) => {
      if (each !== name && !isSame) return [];
      const found = storables.flatMap((address) => recipients.get(rowKey(each, address)) ?? []);
      // The other name's refusals may be another host's.
      return each === name ? found : found.filter(({ state }) => state !== 'ended');
    });
  }

  /** Where both names of a message are known, what was sent counts, and then what is being sent. */
  #knownOf(found: readonly Found[]): Map<string, Known> {
    const known = new Map<string, Known>();
    const inOrder = STATES.flatMap((state) => found.filter((each) => each.state === state));
    for (const { address, state, owner, status, reason } of inOrder) {
      const isOwn = state === 'begun' && owner === this.#link.owner;
      if (state === 'begun' && !isOwn) known.set(address, 'elsewhere');
      else if (status !== null && reason !== null) known.set(address, { status, reason });
    }
    return known;
  }

  /** Resolves when no other proxy is sending any of these recipients, or when `stop` aborts. */
  async #whenSettled(
    message: MessageName,
    addresses: readonly string[],
    stop: AbortSignal,
    digest?: Buffer,
  ): Promise<Map<string, Known>> {
    let wake: (() => void) | undefined;
    const unlisten = this.#bell.listen(storedName(message), () => wake?.());
    try {
      for (let isAnnounced = false; ; isAnnounced = true) {
        const rung = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const known = this.#knownOf(await this.#lookUp(message, addresses, digest));
        const elsewhere = addresses.filter((address) => known.get(address) === 'elsewhere');
        if (elsewhere.length === 0 || stop.aborted) return known;
        if (isAnnounced) await this.#pause(rung, stop);
        else await this.#announce(storedName(message), elsewhere);
      }
    } finally {
      unlisten();
    }
  }

  /** Has the other proxies tell when they have settled these recipients. */
  async #announce(name: string, addresses: readonly string[]): Promise<void> {
    const rows = addresses.map((address) => [name, address]);
    await this.#link.query('read', sql.wait, [this.#link.owner, ...columns(rows, 2)]);
  }

  async #pause(rung: Promise<void>, stop: AbortSignal): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([stop, over.signal]);
    const look = sleep(this.clock, limits.elsewhereLookMs, { signal, idle: true });
    await Promise.race([rung, look]);
    over.abort();
  }

  async #lookUpAll(asked: readonly LookUp[]): Promise<Remembered[]> {
    const names = new Set(asked.flatMap((each) => each.names));
    const rows = asked.flatMap((each) =>
      each.names.flatMap((name) => each.addresses.map((address) => [name, address])),
    );
    const found = await this.#link.query<LookedUp>('read', sql.lookUp, [
      [...names],
      ...columns(rows, 2),
    ]);
    const remembered: Remembered = { digests: new Map(), recipients: new Map() };
    for (const { message, digest, ...recipient } of found) {
      if (digest) remembered.digests.set(message, digest);
      else remembered.recipients.set(rowKey(message, recipient.address), recipient);
    }
    return asked.map(() => remembered);
  }

  async #beginAll(posts: readonly Begin[]): Promise<Set<string>[]> {
    const rows = posts.flatMap(({ name, addresses }) =>
      addresses.map((address) => [name, address]),
    );
    const messages = posts.map(({ name, id, digest }) => [name, id, digest]);
    const wall = this.clock.wallNow();
    const values = [this.#link.owner, ...columns(messages, 3), ...columns(rows, 2), wall];
    const begun = await this.#link.query<Pair>('begin', sql.begin, values);
    const byName = new Map(posts.map(({ name }) => [name, new Set<string>()]));
    for (const { message, address } of begun) byName.get(message)?.add(address);
    return [...byName.values()];
  }

  /** The recipients of each message that could not be settled, which are listed as unknown. */
  async #settleAll(all: readonly Settled[]): Promise<string[][]> {
    const rows = all.flatMap(({ name, settled }) =>
      settled.map((each) => [name, each.address, ...outcomeOf(each)]),
    );
    const wall = this.clock.wallNow();
    const values = [this.#link.owner, ...columns(rows, 5), wall];
    const hit = await this.#link.query<Pair>('settle', sql.settle, values);
    if (hit.length === rows.length) return all.map(() => []);
    const settled = new Set(hit.map(({ message, address }) => rowKey(message, address)));
    const others = rows.filter(([name, address]) => !settled.has(rowKey(name, address)));
    const missed = await this.#link.query<Pair>('settle', sql.missed, [
      this.#link.owner,
      ...columns(others, 2),
      CUT_OFF,
      wall,
    ]);
    return all.map(({ name }) =>
      missed.flatMap(({ message, address }) => (message === name ? [address] : [])),
    );
  }
}

interface LookUp {
  names: readonly string[];
  addresses: readonly string[];
}

interface Begin extends Recipients {
  id: string;
  digest: Buffer;
}

interface Settled {
  name: string;
  settled: readonly Settlement[];
}

/** A recipient as the tables have it. */
interface Found {
  address: string;
  state: 'begun' | 'sent' | 'ended';
  owner: number | null;
  status: string | null;
  reason: string | null;
}

/** A row of a message, with its digest, or of a recipient. */
type LookedUp = Found & { message: string; digest: Buffer | null };

type Pair = { message: string; address: string };

/** What was found for all that were looked up together. */
interface Remembered {
  digests: Map<string, Buffer>;
  recipients: Map<string, Found>;
}

/** Status, reason, and why it is unknown. */
function outcomeOf(settled: Settlement): (string | null)[] {
  if (settled.kind === 'withdrawn') return [null, null, null];
  const reason = storable(settled.reason);
  if (settled.kind === 'unknown') return [statuses.unknown, reason, reason];
  return [settled.status, reason, null];
}

function rowKey(message: unknown, address: unknown): string {
  return `${String(message)}\0${String(address)}`;
}

const STATES = ['ended', 'begun', 'sent'] as const;

/** Stands for a digest that a damaged ledger had lost, before it was copied. */
const LOST_DIGEST = Buffer.alloc(32);

const CUT_OFF =
  'the proxy was cut off from the ledger before it could settle what the backend answered';
