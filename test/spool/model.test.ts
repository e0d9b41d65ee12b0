import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import * as fc from 'fast-check';
import { claim, nextDueAt, recoverClaimed, type Claimed } from '../../src/spool/claim.ts';
import { readBody } from '../../src/spool/body.ts';
import { recordDown, recordPassed } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { historyOf } from '../../src/spool/history.ts';
import { keepHouse } from '../../src/spool/keep-house.ts';
import { dropReport, dueReports, reportedMail, markReported } from '../../src/spool/report.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import { Spool, type Access } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { handOver } from '../support/hand-over.ts';
import { holds } from '../support/holds.ts';
import { scratch } from '../support/scratch.ts';
import { DAY_MS, SpoolModel, type ModelVerdict } from './spool-model.ts';

/** The real spool, and what is in flight from it. */
interface Real {
  spool: Spool;
  inFlight: Claimed[];
}

type Command = fc.Command<SpoolModel, Real>;

/** A command does the same to model and spool, and then the two must be equal in all that counts. */
function command(
  name: string,
  run: (model: SpoolModel, real: Real) => void,
  check: (model: SpoolModel) => boolean = () => true,
): Command {
  return {
    check,
    run(model, real) {
      run(model, real);
      compare(model, real.spool);
    },
    toString: () => name,
  };
}

const CONTENTS = [10, 1000, 5000].map((size) => Buffer.alloc(size, `${size}\0`));
const ADDRESSES = ['a@x', 'b@x', 'c@x', 'f\udcfc@x'];

const enqueues = fc
  .tuple(
    fc.constantFrom('1abc-0', '1abc-1', '1abc-2'),
    fc.nat(CONTENTS.length - 1),
    fc.array(fc.constantFrom(...ADDRESSES), { minLength: 1, maxLength: 5 }),
  )
  .map(([eximId, content, recipients]) =>
    command(`enqueue ${eximId} ${content} ${recipients.join()}`, (model, { spool }) => {
      const message = CONTENTS[content] ?? Buffer.alloc(0);
      const known = recipients.map((each) => model.find(eximId, content, each));
      const given = handOver({ eximId, recipients, message });
      const { id, already } = enqueue(spool, given, model.now);
      assert.equal(already, !known.includes(undefined));
      if (already) assert.equal(id, known[0]?.id);
      else assert.ok(!model.messages.some((each) => each.id === id), 'an id of its own');
      model.enqueue(id, eximId, content, message.length, recipients);
    }),
  );

const claims = fc
  .record({ messages: fc.nat(4), bytes: fc.constantFrom(0, 1500, 5000, 64 * 1024 ** 2) })
  .map((room) =>
    command(`claim ${JSON.stringify(room)}`, (model, { spool, inFlight }) => {
      const claimed = spool.transaction(() =>
        claim(spool, { bypassBytes: room.bytes, ...room }, model.now),
      );
      const expected = model.claim(room);
      assert.deepEqual(
        claimed.map(({ id, attempts, deferrals, renewedAt, outageMs, recipients }) => {
          const addresses = recipients.map(({ address }) => address);
          return { id, attempts, deferrals, renewedAt, outageMs, addresses };
        }),
        expected.map(({ id, attempts, deferrals, renewedAt, outageMs, recipients }) => {
          const pending = recipients.filter(({ state }) => state === 'pending');
          const addresses = pending.map(({ address }) => address);
          return { id, attempts, deferrals, renewedAt, outageMs, addresses };
        }),
      );
      for (const [place, { seq, size }] of claimed.entries()) {
        const bytes = Buffer.concat([...readBody(spool, seq, size)]);
        const content = CONTENTS[expected[place]?.content ?? -1];
        assert.ok(content && bytes.equals(content), 'law 3: the bytes as they were');
      }
      inFlight.push(...claimed);
    }),
  );

const verdict = fc.constantFrom(
  undefined,
  { state: 'sent', status: '2.0.0' },
  { state: 'pending', status: '4.2.2' },
  { state: 'failed', status: '5.1.1' },
) satisfies fc.Arbitrary<Omit<ModelVerdict, 'position'> | undefined>;
const records = fc
  .record({
    which: fc.nat(5),
    many: fc.integer({ min: 1, max: 3 }),
    given: fc.array(verdict, { minLength: 4, maxLength: 4 }),
    charged: fc.boolean(),
    wait: fc.constantFrom(0, 30_000, 36 * 60_000),
  })
  .map(({ which, many, given, charged, wait }) =>
    command(
      `record ${which} and ${many - 1} more ${given.map((each) => each?.status).join()} ${charged ? 'charged ' : ''}${wait}`,
      (model, { spool, inFlight }) => {
        const ended = inFlight.splice(which % Math.max(1, inFlight.length), many);
        const rest = { charged, warnings: 0, dueAt: model.now + wait, lastStatus: '4.4.1' };
        const outcomes = ended.map(({ seq, id, recipients }, nth) => {
          // Each of them fares differently.
          const verdicts = recipients.flatMap(({ position }, place) => {
            const each = given[(place + nth) % given.length] as
              Omit<ModelVerdict, 'position'> | undefined;
            return each ? [{ position, ...each }] : [];
          });
          const message = model.messages.find((each) => each.id === id);
          assert.ok(message);
          model.record(message, verdicts, rest);
          const said = verdicts.map((each) => ({ ...each, reason: 'so' }));
          return { seq, verdicts: said, lastReason: 'so', ...rest };
        });
        spool.transaction(() => record(spool, outcomes, model.now));
      },
    ),
  );

const operations = fc
  .tuple(
    fc.constantFrom('hold', 'release', 'retry', 'bounce', 'delete', 'return', 'returned'),
    fc.nat(9),
    fc.boolean(),
  )
  .map(([verb, which, force]) =>
    command(`${verb} ${which}${force ? ' --force' : ''}`, (model, { spool }) => {
      const message = model.messages[which % Math.max(1, model.messages.length)];
      const operated = operate(spool, message?.id ?? 'none', { verb, now: model.now, force });
      assert.equal(operated, message ? model.operate(verb, message, force) : 'missing');
    }),
  );

const clock = fc
  .constantFrom(1, 30_000, 40 * 60_000, DAY_MS, 6 * DAY_MS, 26 * DAY_MS, -1, -DAY_MS)
  .map((ms) =>
    command(`clock ${ms}`, (model) => {
      model.now += ms;
    }),
  );

const others = fc.constantFrom(
  command('a sender is told', (model, { spool }) => {
    const [notice] = dueReports(spool, model.now, 1);
    model.tell();
    if (!notice) return;
    const subjects = reportedMail(spool, notice);
    spool.transaction(() => {
      if (subjects.length > 0) markReported(spool, notice, subjects, model.now);
      else dropReport(spool, notice);
    });
  }),
  command('drain starts', (model, real) => {
    assert.equal(recoverClaimed(real.spool, model.now), model.recover());
    real.inFlight = [];
  }),
  ...[0, 6].map((days) =>
    command(`${days} days later house-keeping`, (model, { spool }) => {
      model.now += days * DAY_MS;
      while (keepHouse(spool, model.now));
      model.keepHouse();
    }),
  ),
  command('endpoint down', (model, { spool }) => {
    recordDown(spool, 'refused', model.now, model.now);
    model.down();
  }),
  command('endpoint passed', (model, { spool }) => {
    recordPassed(spool, model.now);
    model.passed();
  }),
  ...(['drain', 'pipe', 'operator'] satisfies Access[]).map((access) =>
    command(`reopen as ${access}`, (_model, real) => {
      const { folder } = real.spool;
      real.spool.close();
      real.spool = new Spool(folder, access);
    }),
  ),
);

/** Everything that the spool knows must be what the model knows. */
function compare(model: SpoolModel, spool: Spool): void {
  const rows = spool
    .sql<Record<string, unknown> & { seq: number }>(
      `SELECT seq, id, exim_id AS eximId, size, state, due_at AS dueAt, attempts, deferrals,
         posted_at AS postedAt, renewed_at AS renewedAt, outage_ms AS outageMs,
         finished_at AS finishedAt, last_status AS lastStatus,
         EXISTS (SELECT 1 FROM body WHERE message = seq) AS hasBody,
         EXISTS (SELECT 1 FROM notice WHERE message = seq) AS owesNotice
       FROM message ORDER BY seq`,
    )
    .all();
  const recipientsOf = spool.sql<{ address: Buffer; state: string; status: string | null }>(
    'SELECT address, state, status FROM recipient WHERE message = ? ORDER BY position',
  );
  assert.deepEqual(
    rows.map(({ seq, hasBody, owesNotice, ...row }) => ({
      ...row,
      hasBody: hasBody === 1,
      owesNotice: owesNotice === 1,
      history: historyOf(spool, seq).map(({ what }) => what),
      recipients: recipientsOf
        .all(seq)
        .map((each) => ({ ...each, address: each.address.toString('latin1') })),
    })),
    model.messages.map(({ content: _content, recipients, ...message }) => ({
      ...message,
      recipients: recipients.map((each) => ({
        ...each,
        address: Buffer.from(each.address, 'latin1').toString('latin1'),
      })),
    })),
  );
  const { counters, bytes } = stats(spool);
  assert.deepEqual({ counters, bytes }, { counters: model.counters, bytes: model.bytes });
  for (const { accepted, ...states } of [counters, bytes]) {
    const sum = Object.values(states).reduce((total, each) => total + each, 0);
    assert.equal(accepted, sum, 'law 8');
  }
  const repeated = spool.sql(
    `SELECT 1 FROM recipient JOIN message ON message = seq
     GROUP BY exim_id, digest, address HAVING count(*) > 1`,
  );
  assert.equal(repeated.get(), undefined, 'law 2');
  assert.equal(nextDueAt(spool), model.nextDueAt);
}

test('whatever happens to a spool, it is as the model says after each step (law 2, law 3, law 8)', (t) => {
  const folder = scratch(t);
  let runs = 0;
  const commands = fc.commands(
    [enqueues, enqueues, claims, claims, records, records, operations, clock, others],
    { maxCommands: 80, size: '+1' },
  );
  holds(
    t,
    fc.property(commands, (steps) => {
      const own = join(folder, String(runs));
      runs += 1;
      mkdirSync(own);
      const real: Real = { spool: new Spool(own, 'drain'), inFlight: [] };
      try {
        fc.modelRun(() => ({ model: new SpoolModel(), real }), steps);
        assert.equal(real.spool.db.pragma('integrity_check', { simple: true }), 'ok');
      } finally {
        real.spool.close();
      }
    }),
    120,
  );
});
