import assert from 'node:assert/strict';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Spool } from '../../src/spool/spool.ts';
import { everyStep } from '../support/every-step.ts';
import { handIn } from '../support/hand-in.ts';
import { done, makeSpool, queueOf } from '../support/queues.ts';
import { readSpool } from '../support/read-spool.ts';
import { scratch } from '../support/scratch.ts';

// A fault strikes each command of a move between two queues at its steps. After it the administrator does what the
// manual says, and each recipient is pending in one queue, and in one alone.

const recipients = ['a@example.org', 'b@example.org', 'c@example.org'];

/** A queue of two messages, another that is empty, and a file, in one folder. */
function prepare(t: TestContext): string {
  const folder = scratch(t);
  const from = makeSpool(join(folder, 'from'));
  makeSpool(join(folder, 'to'));
  handIn(from, [
    { recipients: recipients.slice(0, 2), bytes: `Subject: x\n\n${'line\n'.repeat(2000)}` },
    { recipients: recipients.slice(2) },
  ]);
  return folder;
}

/** Who is pending, in which queue and in which state of the message. */
function pending(folder: string, queue: string): string[] {
  return readSpool(join(folder, queue)).flatMap((message) =>
    message.recipients
      .filter(({ state }) => state === 'pending')
      .map(({ address }) => `${address} ${message.state}`),
  );
}

const all = (state: string) => recipients.map((address) => `${address} ${state}`);

interface Case {
  command: string;
  /** What was done before the command that is struck. */
  before: string[][];
  struck: string[];
  /** What the administrator does after it, in the folder. */
  after: (t: TestContext, folder: string, code: number | null) => Promise<void>;
}

const FILE = 'file.export';
const cases: Case[] = [
  {
    command: 'queue export, and it is taken back',
    before: [],
    struck: ['from', 'export', FILE],
    after: async (t, folder) => {
      const back = await at(t, folder, ['from', 'export', '--take-back', FILE]);
      // It may have died before it wrote down that it begins, or have undone all itself.
      if (back.code !== 0) assert.match(back.stderr, /nothing was exported/);
      assert.deepEqual(pending(folder, 'from'), all('queued'));
      rmSync(join(folder, FILE), { force: true });
      for (const words of MOVE)
        await done(t, join(folder, words[0] ?? ''), ...inFolder(folder, words.slice(1)));
    },
  },
  {
    command: 'queue export, and a file that is whole is imported all the same',
    before: [],
    struck: ['from', 'export', FILE],
    after: async (t, folder, code) => {
      const imported = existsSync(join(folder, FILE))
        ? await at(t, folder, ['to', 'import', FILE])
        : undefined;
      if (imported?.code !== 0) {
        assert.notEqual(code, 0, 'an export that succeeds has a whole file');
        assert.deepEqual(pending(folder, 'to'), []);
        await at(t, folder, ['from', 'export', '--take-back', FILE]);
        rmSync(join(folder, FILE), { force: true });
        await done(t, join(folder, 'from'), 'export', join(folder, FILE));
        await done(t, join(folder, 'to'), 'import', join(folder, FILE));
      }
      await done(t, join(folder, 'from'), 'export', '--confirm', join(folder, FILE));
    },
  },
  {
    command: 'queue import',
    before: [['from', 'export', FILE]],
    struck: ['to', 'import', FILE],
    after: async (t, folder) => {
      await done(t, join(folder, 'to'), 'import', join(folder, FILE));
      await done(t, join(folder, 'from'), 'export', '--confirm', join(folder, FILE));
    },
  },
  {
    command: 'queue export --confirm',
    before: [
      ['from', 'export', FILE],
      ['to', 'import', FILE],
    ],
    struck: ['from', 'export', '--confirm', FILE],
    after: async (t, folder) => {
      const before = pending(folder, 'from');
      assert.ok(
        before.every((each) => each.endsWith(' held')),
        before.join(),
      );
      await done(t, join(folder, 'from'), 'export', '--confirm', join(folder, FILE));
    },
  },
  {
    command: 'queue export --take-back',
    before: [['from', 'export', FILE]],
    struck: ['from', 'export', '--take-back', FILE],
    after: async (t, folder) => {
      await done(t, join(folder, 'from'), 'export', '--take-back', join(folder, FILE));
      assert.deepEqual(pending(folder, 'from'), all('queued'));
      rmSync(join(folder, FILE));
      for (const words of MOVE)
        await done(t, join(folder, words[0] ?? ''), ...inFolder(folder, words.slice(1)));
    },
  },
];

const MOVE = [
  ['from', 'export', FILE],
  ['to', 'import', FILE],
  ['from', 'export', '--confirm', FILE],
];

for (const [fault, stride] of [
  ['KILL', 41] as const,
  ['EIO', 61] as const,
  ['ENOSPC', 61] as const,
]) {
  for (const { command, before, struck, after } of cases) {
    const title = `law 6, law 7, law 8: ${fault} at any step of ${command}`;
    everyStep({ title, fault, stride }, async (t) => {
      const template = prepare(t);
      for (const words of before) {
        assert.equal((await at(t, template, words)).code, 0);
      }
      return async ({ folder, strikes, note }) => {
        cpSync(template, folder, { recursive: true });
        relocate(folder, template);
        const { code, stderr } = await at(t, folder, struck, strikes);
        note(`${code}: ${stderr}`);
        await after(t, folder, code);
        assert.deepEqual(pending(folder, 'from'), []);
        assert.deepEqual(pending(folder, 'to'), all('queued'));
        return {};
      };
    });
  }
}

function inFolder(folder: string, words: readonly string[]): string[] {
  return words.map((word) => (word === FILE ? join(folder, FILE) : word));
}

async function at(
  t: TestContext,
  folder: string,
  [spool = '', ...words]: readonly string[],
  env: NodeJS.ProcessEnv = {},
) {
  return queueOf(t, join(folder, spool), inFolder(folder, words), env);
}

/** The spool knows its files by their paths. */
function relocate(folder: string, template: string): void {
  const spool = new Spool(join(folder, 'from'), 'operator');
  spool.db.prepare('UPDATE transfer SET file = replace(file, ?, ?)').run(template, folder);
  spool.close();
}
