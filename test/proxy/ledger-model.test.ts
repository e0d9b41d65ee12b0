import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import {
  DigestConflictError,
  type Ledger,
  type Settlement,
} from '../../src/proxy/ledger/ledger.ts';
import type { MessageName } from '../../src/proxy/ledger/message-name.ts';
import { LONG } from '../support/figures.ts';
import { holds } from '../support/holds.ts';
import { postgresEngine, sqliteEngine, type LedgerPlace } from '../support/ledger-engines.ts';
import { needs } from '../support/needs.ts';

const ADDRESSES = ['a@example.org', 'b@example.org', 'c@example.org'];
const DIGESTS = [Buffer.alloc(32, 7), Buffer.alloc(32, 8)];
const SENT = { status: '2.0.0', reason: 'ok' };
const ENDED = 'the proxy ended before the backend answered';
/** Messages are kept for 30 days: one such step is less, and two are more. */
const STEP_DAYS = 16;

/** What the model knows of a message: the bytes it was posted with first, the day of its last post, and its recipients. */
interface KnownMessage extends MessageName {
  digest: Buffer;
  day: number;
  recipients: Map<string, 'begun' | 'sent'>;
}

/** The simplest ledger. */
class LedgerModel {
  day = 0;
  messages: KnownMessage[] = [];
  unknown: { key: string; id: string; address: string; reason: string; day: number }[] = [];

  find({ key, id }: MessageName): KnownMessage | undefined {
    return this.messages.find((each) => each.key === key && each.id === id);
  }

  /** The recipients that were sent; undefined where the digest is another one. */
  known(message: MessageName, addresses: string[], digest?: Buffer): string[] | undefined {
    const own = this.find(message);
    if (own && digest && !own.digest.equals(digest)) return undefined;
    const unnamed = this.find({ key: '', id: message.id });
    const isSame = digest !== undefined && unnamed?.digest.equals(digest) === true;
    const found = [own, ...(isSame ? [unnamed] : [])];
    return addresses.filter((address) =>
      found.some((each) => each?.recipients.get(address) === 'sent'),
    );
  }

  begin(name: MessageName, digest: Buffer, addresses: string[]): string[] | undefined {
    let message = this.find(name);
    if (message && !message.digest.equals(digest)) return undefined;
    if (!message) {
      message = { ...name, digest, day: this.day, recipients: new Map() };
      this.messages.push(message);
    }
    message.day = this.day;
    const { recipients } = message;
    const sent = addresses.filter((address) => recipients.get(address) === 'sent');
    for (const address of addresses) if (!sent.includes(address)) recipients.set(address, 'begun');
    return sent;
  }

  settle({ key, id, recipients }: KnownMessage, settled: Settlement): void {
    const { address, kind } = settled;
    if (kind === 'sent') recipients.set(address, 'sent');
    else recipients.delete(address);
    if (kind === 'unknown')
      this.unknown.push({ key, id, address, reason: settled.reason, day: this.day });
  }

  /** The proxy ends, and another one starts. */
  reopen(): void {
    for (const message of this.messages) {
      for (const address of begunOf(message))
        this.settle(message, { address, kind: 'unknown', reason: ENDED });
    }
  }

  prune(): void {
    const isKept = ({ day }: { day: number }) => this.day - day < 30;
    this.messages = this.messages.filter(isKept);
    this.unknown = this.unknown.filter(isKept);
  }

  /** The list of unknown outcomes, and whether each was sent later. */
  listed(): string[] {
    return this.unknown.map(({ key, id, address, reason }) => {
      const sentAgain = this.find({ key, id })?.recipients.get(address) === 'sent';
      return `${key}/${id} ${address} ${reason} ${sentAgain}`;
    });
  }
}

/** The real ledger, and where it is opened again. */
interface Real {
  place: LedgerPlace;
  ledger: Ledger;
}

type Command = fc.AsyncCommand<LedgerModel, Real>;

/** A command does the same to model and ledger, and then the two must know the same. */
function command(
  name: string,
  run: (model: LedgerModel, real: Real) => Promise<void>,
  check: (model: LedgerModel) => boolean = () => true,
): Command {
  return {
    check,
    async run(model, real) {
      await run(model, real);
      await compare(model, real);
    },
    toString: () => name,
  };
}

const messages = fc.record({ key: fc.constantFrom('', 'web1'), id: fc.constantFrom('one', 'two') });
const digests = fc.constantFrom(...DIGESTS);
const addresses = fc.subarray(ADDRESSES, { minLength: 1 });

const begins = fc.tuple(messages, digests, addresses).map(([message, digest, recipients]) =>
  command(
    `begin ${message.key}/${message.id} ${digest[0]} ${recipients.join()}`,
    async (model, { ledger }) => {
      const expected = model.begin(message, digest, recipients);
      assert.deepEqual(await sentOf(ledger.begin(message, digest, recipients)), expected);
    },
  ),
);

const outcomes: fc.Arbitrary<(address: string) => Settlement> = fc.constantFrom(
  (address) => ({ address, kind: 'sent', ...SENT }),
  (address) => ({ address, kind: 'refused', status: '5.1.1', reason: 'nobody here' }),
  (address) => ({ address, kind: 'withdrawn' }),
  (address) => ({ address, kind: 'unknown', reason: 'the line broke' }),
);
const settles = fc
  .tuple(fc.nat(9), fc.array(outcomes, { minLength: 3, maxLength: 3 }))
  .map(([which, given]) =>
    command(
      `settle ${which} ${given.map((each) => each('').kind).join()}`,
      async (model, { ledger }) => {
        const begun = model.messages.filter((each) => begunOf(each).length > 0);
        const message = begun[which % begun.length];
        assert.ok(message);
        const settled = begunOf(message).flatMap((address, at) => given[at]?.(address) ?? []);
        assert.deepEqual(await ledger.settle(message, settled), []);
        for (const each of settled) model.settle(message, each);
      },
      (model) => model.messages.some((each) => begunOf(each).length > 0),
    ),
  );

const reopens = fc.constantFrom(0, STEP_DAYS).map((days) =>
  command(`start again, ${days} days later`, async (model, real) => {
    const listed = model.unknown.length;
    model.reopen();
    await real.ledger.close();
    real.ledger = await real.place.open();
    assert.equal(real.ledger.unknown.listed, model.unknown.length);
    assert.ok(real.ledger.unknown.found <= model.unknown.length - listed);
    if (days === 0) return;
    await real.ledger.close();
    await real.place.letPass(days * 86_400_000);
    model.day += days;
    real.ledger = await real.place.open();
  }),
);

const prunes = fc.constant(
  command('prune', async (model, { ledger }) => {
    while (await ledger.prune());
    model.prune();
  }),
);

/** Everything that the ledger tells must be what the model knows. */
async function compare(model: LedgerModel, { place, ledger }: Real): Promise<void> {
  for (const key of ['', 'web1']) {
    for (const id of ['one', 'two']) {
      const message = { key, id };
      for (const digest of [undefined, ...DIGESTS]) {
        const expected = model.known(message, ADDRESSES, digest);
        assert.deepEqual(await sentOf(ledger.known(message, ADDRESSES, digest)), expected);
      }
      // A ledger may also tell what was not sent.
      const told = await ledger.outcomes(message, ADDRESSES, AbortSignal.timeout(10_000));
      const sent = ADDRESSES.filter((each) => isSent(told.get(each)));
      assert.deepEqual(sent, model.known(message, ADDRESSES));
    }
  }
  const reader = await place.read();
  const listed: string[] = [];
  for await (const each of reader.list({ states: ['unknown'] }, Date.now()))
    listed.push(`${each.key}/${each.id} ${each.address} ${each.reason} ${each.sentAgain}`);
  await reader.close();
  assert.deepEqual(listed.toSorted(), model.listed().toSorted());
}

/** The recipients that a ledger knows as sent; undefined where it refuses the digest. */
async function sentOf(known: ReturnType<Ledger['known']>): Promise<string[] | undefined> {
  try {
    const found = await known;
    for (const record of found.values()) assert.deepEqual({ ...(record as object) }, SENT);
    return ADDRESSES.filter((address) => found.has(address));
  } catch (error) {
    if (error instanceof DigestConflictError) return undefined;
    throw error;
  }
}

function isSent(known: unknown): boolean {
  return (known as typeof SENT | undefined)?.status === SENT.status;
}

function begunOf({ recipients }: KnownMessage): string[] {
  return ADDRESSES.filter((address) => recipients.get(address) === 'begun');
}

for (const engine of [sqliteEngine, postgresEngine({ settings: { fsync: 'off' } })]) {
  test(
    `law 6: whatever happens to a ledger in ${engine.name}, it knows what the model knows after each step`,
    needs('postgres'),
    async (t) => {
      const commands = fc.commands([begins, begins, settles, settles, reopens, prunes], {
        maxCommands: 40,
        size: '+1',
      });
      const property = fc.asyncProperty(commands, async (steps) => {
        const place = await engine.place(t);
        const real: Real = { place, ledger: await place.open() };
        try {
          await fc.asyncModelRun(() => ({ model: new LedgerModel(), real }), steps);
        } finally {
          await real.ledger.close();
        }
      });
      await holds(t, property, LONG ? 300 : 8);
    },
  );
}
