import assert from 'node:assert/strict';
import { cpSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { connect } from '../../src/sqlite/open-database.ts';
import { everyStep, type Step } from '../support/every-step.ts';
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

// Deaths on both sides of the commit, or the test proves nothing.
const atLeast = { queued: 1, 'already queued': 1 };

everyStep(
  {
    title: 'law 1, law 2, law 7: killed at any step of making a spool and storing a message in it',
    fault: 'KILL',
    stride: 5,
    atLeast,
  },
  (t) => handOverTwice(t, [stored]),
);

everyStep(
  {
    title: 'law 1, law 2, law 7: killed at any step of storing a message in a spool that has one',
    fault: 'KILL',
    stride: 3,
    atLeast,
  },
  async (t) => handOverTwice(t, [older, stored], await spoolWithOlder(t)),
);

everyStep(
  {
    title: 'law 1, law 2, law 7: killed at any step beside a program that has the spool open',
    fault: 'KILL',
    atLeast,
  },
  async (t) => {
    const attempt = handOverTwice(t, [older, stored], await spoolWithOlder(t));
    return async (step) =>
      attempt(step, (spool) => {
        // What SQLite shares between processes then outlives the killed one.
        const db = connect(join(spool, 'spool.db'));
        db.prepare('SELECT count(*) FROM message').get();
        t.after(() => db.close());
      });
  },
);

for (const fault of ['EIO', 'ENOSPC'] as const) {
  const title = `law 1, law 2, law 7: ${fault} at any step of storing a message leaves no half of one`;
  everyStep({ title, fault, stride: 3 }, async (t) =>
    handOverTwice(t, [older, stored], await spoolWithOlder(t)),
  );
}

type Expected = Omit<Spooled, 'id' | 'recipients'> & { recipients: string[] };

/** Hands over, which is struck, hands over again, and checks that the spool has what is expected. */
function handOverTwice(t: TestContext, expected: Expected[], template?: string) {
  return async (
    { folder: spool, strikes, note }: Step,
    prepare: (spool: string) => void = () => {},
  ) => {
    if (template !== undefined) cpSync(template, spool, { recursive: true });
    prepare(spool);
    const first = await pipe(t, { spool, input: handOver, env: strikes });
    note(String(first.stdout));
    if (first.code !== 0) assert.equal(first.code, 75);

    const again = await pipe(t, { spool, input: handOver });
    note(`${again.code}: ${String(again.stdout)}`);
    assert.equal(again.code, 0);
    const [, word, id] =
      /^(queued|already queued) ([0-9a-f]{32})\n$/.exec(String(again.stdout)) ?? [];
    assert.ok(word);
    if (first.code === 0) assert.equal(String(first.stdout), `queued ${id}\n`);

    const found = readSpool(spool);
    assert.deepEqual(found.map(asExpected), expected);
    assert.equal(found.at(-1)?.id, id);
    assert.equal(statSync(join(spool, 'spool.db')).mode & 0o777, 0o660);
    return first.code === 0 ? {} : { [word]: 1 };
  };
}

function asExpected({ id: _id, recipients: all, ...message }: Spooled): Expected {
  assert.ok(all.every(({ state }) => state === 'pending'));
  return { ...message, recipients: all.map(({ address }) => address) };
}

async function spoolWithOlder(t: TestContext): Promise<string> {
  const spool = join(scratch(t), 'spool');
  mkdirSync(spool);
  const input = bsmtp(older.sender, older.recipients, older.bytes);
  const { code, stdout } = await pipe(t, { spool, input, eximId: older.eximId });
  assert.equal(code, 0, String(stdout));
  return spool;
}

interface HandOver {
  spool: string;
  input: Buffer;
  env?: NodeJS.ProcessEnv;
  eximId?: string;
}

async function pipe(
  t: TestContext,
  { spool, input, env = {}, eximId = stored.eximId }: HandOver,
): Promise<Ended> {
  return run(t, inCheckout('exim/exim-pipe'), [eximId, '--spool', spool], { input, env });
}
