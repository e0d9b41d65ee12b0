import assert from 'node:assert/strict';
import { cpSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { connect } from '../../src/sqlite/open-database.ts';
import { everyStep, type Fault } from '../support/every-step.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run, type Ended } from '../support/program.ts';
import { readSpool, type Spooled } from '../support/read-spool.ts';
import { bsmtp } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

// A fault strikes exim-pipe at its first step, its second, and so on until it is through; fault-at.c says
// what a step is. After each Exim would hand the same message over again, and so does the test.

const sender = 'sender@example.com';
const recipients = ['a@example.org', 'b@example.org', 'ü@exämple.org'];
const bytes = Buffer.concat([
  Buffer.from('Subject: x\n\n.\n..dots\n\0\r \xff\n', 'latin1'),
  Buffer.alloc(6000, 'l'), // More than a page of the database.
  Buffer.from('\n'),
]);
const handOver = bsmtp(sender, recipients, bytes);
const stored = { eximId: '1new-000000-AB', state: 'queued', sender, recipients, bytes };
const older = {
  eximId: '1old-000000-AB',
  state: 'queued',
  sender: '',
  recipients: ['old@example.org'],
  bytes: Buffer.from('Subject: older\n\nx\n'),
};

test(
  'law 1, law 2, law 7: killed at any step of making a spool and storing a message in it',
  needs('cc'),
  async (t) => {
    await strikeEveryStep(t, {
      prepare: (spool) => mkdirSync(spool),
      expected: [stored],
    });
  },
);

test(
  'law 1, law 2, law 7: killed at any step of storing a message in a spool that has one',
  needs('cc'),
  async (t) => {
    const template = await spoolWithOlder(t);
    await strikeEveryStep(t, {
      prepare: (spool) => cpSync(template, spool, { recursive: true }),
      expected: [older, stored],
    });
  },
);

test(
  'law 1, law 2, law 7: killed at any step beside a program that has the spool open',
  needs('cc'),
  async (t) => {
    const template = await spoolWithOlder(t);
    await strikeEveryStep(t, {
      prepare: (spool) => {
        cpSync(template, spool, { recursive: true });
        // What SQLite shares between processes then outlives the killed one.
        const db = connect(join(spool, 'spool.db'));
        db.prepare('SELECT count(*) FROM message').get();
        t.after(() => db.close());
      },
      expected: [older, stored],
    });
  },
);

for (const fault of ['EIO', 'ENOSPC'] as const) {
  void test(
    `law 1, law 2, law 7: ${fault} at any step of storing a message leaves no half of one`,
    needs('cc'),
    async (t) => {
      const template = await spoolWithOlder(t);
      await strikeEveryStep(t, {
        fault,
        prepare: (spool) => cpSync(template, spool, { recursive: true }),
        expected: [older, stored],
      });
    },
  );
}

type Expected = Omit<Spooled, 'id' | 'recipients'> & { recipients: string[] };

interface Circumstances {
  fault?: Fault;
  /** Makes the spool's folder, as it is before the hand-over. */
  prepare: (spool: string) => void;
  /** What is in the spool in the end. */
  expected: Expected[];
}

/** Strikes, hands over again and checks, for every step there is. */
async function strikeEveryStep(
  t: TestContext,
  { fault = 'KILL', prepare, expected }: Circumstances,
) {
  const repeats = { queued: 0, 'already queued': 0 };
  await everyStep(t, { fault }, async ({ number, folder: spool, strikes }) => {
    prepare(spool);
    const first = await pipe(t, spool, handOver, strikes(spool));
    const note = `step ${number}: ${String(first.stdout)}`;
    if (first.code !== 0) assert.equal(first.code, 75, note);

    const again = await pipe(t, spool, handOver);
    const line = /^(queued|already queued) ([0-9a-f]{32})\n$/.exec(String(again.stdout));
    assert.ok(line && again.code === 0, `${note}then ${again.code}: ${String(again.stdout)}`);
    const [, word, id] = line as unknown as [string, keyof typeof repeats, string];
    if (first.code === 0) assert.equal(String(first.stdout), `queued ${id}\n`);
    else repeats[word] += 1;

    const found = readSpool(spool);
    assert.deepEqual(found.map(asExpected), expected, note);
    assert.equal(found.at(-1)?.id, id, note);
    assert.equal(statSync(join(spool, 'spool.db')).mode & 0o777, 0o660, note);
  });
  t.diagnostic(`handed over again: ${JSON.stringify(repeats)}`);
  // Deaths on both sides of the commit, or the test proves nothing.
  const both = repeats.queued > 0 && repeats['already queued'] > 0;
  assert.ok(fault !== 'KILL' || both, JSON.stringify(repeats));
}

function asExpected({ eximId, state, sender, recipients, bytes }: Spooled): Expected {
  assert.ok(recipients.every(({ state }) => state === 'pending'));
  return { eximId, state, sender, recipients: recipients.map(({ address }) => address), bytes };
}

async function spoolWithOlder(t: TestContext): Promise<string> {
  const spool = join(scratch(t), 'spool');
  mkdirSync(spool);
  const input = bsmtp(older.sender, older.recipients, older.bytes);
  const { code, stdout } = await pipe(t, spool, input, {}, older.eximId);
  assert.equal(code, 0, String(stdout));
  return spool;
}

async function pipe(
  t: TestContext,
  spool: string,
  input: Buffer,
  env: NodeJS.ProcessEnv = {},
  eximId = stored.eximId,
): Promise<Ended> {
  return run(t, inCheckout('exim/exim-pipe'), [eximId, '--spool', spool], { input, env });
}
