import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { pagesOf, spoilPage } from '../support/damage.ts';
import { everyStep, type Fault } from '../support/every-step.ts';
import { figures, timeLimit } from '../support/figures.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, inCheckout, run } from '../support/program.ts';
import { random } from '../support/random.ts';
import { readSpool } from '../support/read-spool.ts';
import { bsmtp } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

// A fault strikes fsck at its first step, its second, and so on. Then a message is handed over, as Exim does
// at any time, and a second fsck repairs what the first one left.

const MESSAGES = 20;

const faults: [Fault, number, string][] = [
  ['KILL', 19, 'law 7: fsck killed at any step leaves the old spool or the new one, whole'],
  [
    'EIO',
    29,
    'law 7: a disk that fails once at any step of fsck leaves the old spool or the new one',
  ],
  [
    'ENOSPC',
    29,
    'law 7: a disk that is full from any step of fsck on leaves the old spool or the new one',
  ],
];

for (const [fault, stride, title] of faults) {
  void test(title, { ...needs('cc'), timeout: timeLimit(290_000) }, async (t) => {
    const template = join(scratch(t), 'spool');
    mkdirSync(template);
    const mails = Array.from({ length: MESSAGES }, (_, number) => ({
      bytes: `Subject: ${number}\n\n${'x'.repeat(3000)}\n`,
    }));
    const ids = handIn(template, mails);
    const file = join(template, 'spool.db');
    const choice = random(t);
    spoilPage(file, pagesOf(file, 'message_state')[0] ?? 0, 'zeros', choice);
    spoilPage(file, pagesOf(file, 'body')[7] ?? 0, 'garbage', choice);
    const seen = { struck: 0, old: 0, repaired: 0 };

    await everyStep(t, { fault, stride }, async ({ number, folder, strikes }) => {
      cpSync(template, folder, { recursive: true });
      const fsck = async (env: NodeJS.ProcessEnv = {}) =>
        appengineMailer(t, ['queue', 'fsck', '--spool', folder], { env, input: '' }).ended;
      const first = await fsck(strikes(folder));
      const note = `${fault} at step ${number}: ${first.code ?? first.signal} ${first.stderr}`;
      if (first.code !== 1) seen.struck += 1;

      const input = bsmtp('s@example.com', ['new@example.org'], 'Subject: new\n\nx\n');
      const handed = await run(t, inCheckout('exim/exim-pipe'), ['1new-0', '--spool', folder], {
        input,
      });
      // A spool with a broken page may not take it; then Exim keeps it.
      if (handed.code !== 0) assert.equal(handed.code, 75, note);

      const next = await fsck();
      assert.ok(next.code === 0 || next.code === 1, `${note}then ${next.stderr}`);
      seen[next.code === 0 ? 'repaired' : 'old'] += 1;
      const found = readSpool(folder).map(({ id, eximId }) => (eximId === '1new-0' ? 'new' : id));
      const wanted = [
        ...ids.filter((_, at) => found.includes(ids[at] ?? '')),
        ...(handed.code === 0 ? ['new'] : []),
      ];
      assert.deepEqual(found, wanted, note);
      assert.equal(ids.filter((id) => !found.includes(id)).length, 1, `${note}one is lost`);
      const lost = ids.find((id) => !found.includes(id)) ?? '';
      const told = `${String(first.stdout)}${String(next.stdout)}`;
      assert.ok(told.includes(`lost: message ${lost} `), `${note}nobody said what is lost`);
      const stray = readdirSync(folder).filter((name) => /\.new|\.repaired/.test(name));
      assert.deepEqual(stray, [], note);
    });
    figures(t, `fsck, ${fault} at every step`, seen);
    assert.ok(seen.struck > 3 && seen.old > 0 && seen.repaired > 0, JSON.stringify(seen));
  });
}
