import assert from 'node:assert/strict';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import * as fc from 'fast-check';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { confirmExported, readExported, takeBack, takeOut } from '../../src/spool/export.ts';
import { importMessages, type Imported } from '../../src/spool/import.ts';
import { operateEach } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import { Spool, type MessageState } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { beginTransfer, decideTransfer, transferNamed } from '../../src/spool/transfer.ts';
import { handOver } from '../support/hand-over.ts';
import { holds } from '../support/holds.ts';
import { makeSpool } from '../support/queues.ts';
import { scratch } from '../support/scratch.ts';

/** A file, which an administrator takes to one other queue at the most, as often as he likes. */
interface File {
  name: string;
  source: number;
  messages: Imported[];
  destination?: number;
  ended?: 'confirmed' | 'taken back';
}

/** Queues between which messages move, and what was sent from them all. Steps may stop half-way, as crashes do. */
class Queues {
  readonly spools: Spool[];
  readonly files: File[] = [];
  readonly wanted: string[] = [];
  readonly sent: string[] = [];

  constructor(folder: string, empty: string) {
    this.spools = ['a', 'b', 'c'].map((name) => {
      cpSync(empty, join(folder, name), { recursive: true });
      const spool = new Spool(join(folder, name), 'drain');
      spool.db.pragma('synchronous = OFF'); // No power is cut here.
      return spool;
    });
  }

  enqueue(queue: number, recipients: number): void {
    const number = this.wanted.length;
    const addresses = ADDRESSES.slice(0, recipients);
    const spool = this.#spool(queue);
    const message = `number ${number}\n`;
    const given = handOver({ eximId: `1abc-${number}`, recipients: addresses, message });
    const { id } = enqueue(spool, given, spool.now());
    this.wanted.push(...addresses.map((address) => `${id} ${address}`));
  }

  /** The proxy takes those recipients whose bit is set, and puts the others off. */
  send(queue: number, bits: number): void {
    const spool = this.#spool(queue);
    const now = spool.now();
    spool.transaction(() => {
      const room = { messages: 100, bytes: 1e9, bypassBytes: 0 };
      for (const { seq, id, recipients } of claim(spool, room, now)) {
        const verdicts = recipients.map(({ position, address }, at) => {
          const taken = ((bits >> at) & 1) === 1;
          if (taken) this.sent.push(`${id} ${address}`);
          return taken
            ? { position, state: 'sent' as const, status: '2.0.0', reason: 'ok' }
            : { position, state: 'pending' as const, status: '4.0.0', reason: 'later' };
        });
        const rest = { charged: true, warnings: 0, lastStatus: '4.0.0', lastReason: 'later' };
        record(spool, [{ seq, verdicts, dueAt: now, ...rest }], now);
      }
    });
  }

  operate(queue: number, verb: 'hold' | 'release'): void {
    const spool = this.#spool(queue);
    operateEach(spool, this.#waiting(spool), { verb, now: spool.now() });
  }

  export(queue: number, bits: number): void {
    const spool = this.#spool(queue);
    const chosen = this.#waiting(spool).filter((_, at) => ((bits >> (at % 8)) & 1) === 1);
    const name = String(this.files.length).padStart(32, '0');
    const { number } = beginTransfer(spool, 'export', name, name);
    const taken = takeOut(spool, number, chosen);
    const messages = chosen
      .filter((_, at) => taken[at] === 'done')
      .map((id) => {
        const { bytes, ...message } = readExported(spool, id, spool.now());
        return { ...message, bytes: Buffer.concat([...bytes]) };
      });
    this.files.push({ name, source: queue, messages });
  }

  import(file: File, queue: number, count: number): void {
    const { destination = queue, source, ended, name, messages } = file;
    const mayImport = queue === source || (queue === destination && ended !== 'taken back');
    if (!mayImport) return;
    const spool = this.#spool(queue);
    const { what, state, number } = beginTransfer(spool, 'import', name, name);
    if (what === 'export' || state === 'done') return;
    file.destination = queue;
    const some = messages.slice(0, count);
    importMessages(spool, number, some, { now: spool.now(), transitMs: 0 });
    if (some.length === messages.length) decideTransfer(spool, number, 'done');
  }

  confirm(file: File, count: number): void {
    const { source, destination, name, messages } = file;
    if (destination === undefined) return;
    if (transferNamed(this.#spool(destination), name)?.state !== 'done') return;
    const spool = this.#spool(source);
    const { number } = beginTransfer(spool, 'export', name, name);
    decideTransfer(spool, number, 'confirmed');
    file.ended = 'confirmed';
    confirmExported(spool, number, messages.slice(0, count), spool.now());
  }

  takeBack(file: File): void {
    if (file.destination !== undefined) return;
    const spool = this.#spool(file.source);
    const { number } = beginTransfer(spool, 'export', file.name, file.name);
    decideTransfer(spool, number, 'taken back');
    file.ended = 'taken back';
    while (takeBack(spool, number, spool.now()) > 0);
  }

  /** What was begun is brought to its end, and everything is sent. */
  end(): void {
    for (const file of this.files) {
      if (file.destination === undefined) this.takeBack(file);
      else this.import(file, file.destination, Infinity);
      this.confirm(file, Infinity);
    }
    for (const queue of this.spools.keys()) {
      this.operate(queue, 'release');
      this.send(queue, -1);
    }
  }

  check(): void {
    assert.equal(new Set(this.sent).size, this.sent.length, 'a recipient was sent twice');
    for (const spool of this.spools) {
      const { counters, bytes } = stats(spool);
      for (const { accepted, ...states } of [counters, bytes]) {
        const sum = Object.values(states).reduce((total, each) => total + each, 0);
        assert.equal(accepted, sum, 'law 8');
      }
      // Nothing is forgotten here, so that the counters are those of the rows.
      const there = spool
        .sql<{ state: MessageState; messages: number; bytes: number }>(
          'SELECT state, count(*) AS messages, sum(size) AS bytes FROM message GROUP BY state',
        )
        .all();
      for (const row of there) {
        const counted = { messages: counters[row.state], bytes: bytes[row.state] };
        assert.deepEqual(counted, { messages: row.messages, bytes: row.bytes }, row.state);
      }
    }
  }

  close(): void {
    for (const spool of this.spools) spool.close();
  }

  #spool(queue: number): Spool {
    return this.spools[queue] as Spool;
  }

  #waiting(spool: Spool): string[] {
    return spool
      .sql<{ id: string }>(`SELECT id FROM message WHERE state IN ('queued', 'held') ORDER BY seq`)
      .all()
      .map(({ id }) => id);
  }
}

const ADDRESSES = ['a@x', 'b@x', 'c@x'];

const weighted: [step: string, weight: number][] = [
  ['enqueue', 5],
  ['send', 1],
  ['hold', 1],
  ['release', 1],
  ['export', 4],
  ['import', 8],
  ['confirm', 4],
  ['takeBack', 1],
];
const anyStep = fc.oneof(
  ...weighted.map(([name, weight]) => ({ arbitrary: fc.constant(name), weight })),
);
const some = fc.oneof(fc.constant(99), fc.nat(4));
const steps = fc.array(
  fc.record({ step: anyStep, queue: fc.nat(2), bits: fc.nat(255), count: some }),
  {
    minLength: 10,
    maxLength: 60,
    size: 'max',
  },
);

test('however messages move between queues, each recipient is sent exactly once (law 2, law 6, law 7, law 8)', (t) => {
  const folder = scratch(t);
  const empty = makeSpool(join(folder, 'empty'));
  let runs = 0;
  const happened = { imported: 0, confirmed: 0, takenBack: 0 };
  holds(
    t,
    fc.property(steps, (all) => {
      const own = join(folder, String(runs));
      runs += 1;
      mkdirSync(own);
      const queues = new Queues(own, empty);
      try {
        for (const { step, queue, bits, count } of all) {
          // One of the latest files, which are the ones that interest.
          const file = queues.files.at(-1 - (bits % 4));
          if (step === 'enqueue') queues.enqueue(queue, 1 + (bits % ADDRESSES.length));
          else if (step === 'send') queues.send(queue, bits);
          else if (step === 'hold' || step === 'release') queues.operate(queue, step);
          else if (step === 'export') queues.export(queue, bits);
          else if (file && step === 'import') queues.import(file, queue, count);
          else if (file && step === 'confirm') queues.confirm(file, count);
          else if (file) queues.takeBack(file);
          queues.check();
        }
        queues.end();
        queues.check();
        assert.deepEqual(queues.sent.toSorted(), queues.wanted.toSorted());
        for (const { destination, ended, messages } of queues.files) {
          if (messages.length === 0) continue;
          happened.imported += Number(destination !== undefined);
          happened.confirmed += Number(ended === 'confirmed');
          happened.takenBack += Number(ended === 'taken back');
        }
      } finally {
        queues.close();
      }
    }),
    200,
  );
  t.diagnostic(JSON.stringify(happened));
  assert.ok(happened.imported > 50 && happened.takenBack > 50);
});
