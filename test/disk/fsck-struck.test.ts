import assert from 'node:assert/strict';
import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pagesOf, spoilPage } from '../support/damage.ts';
import { everyStep } from '../support/every-step.ts';
import { handIn } from '../support/hand-in.ts';
import { inCheckout, run } from '../support/program.ts';
import { makeSpool, queueOf } from '../support/queues.ts';
import { random } from '../support/random.ts';
import { readSpool } from '../support/read-spool.ts';
import { bsmtp } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

// A fault strikes fsck at its first step, its second, and so on. Then a message is handed over, as Exim does
// at any time, and a second fsck repairs what the first one left.

const MESSAGES = 20;

const titles = {
  KILL: 'law 7: fsck killed at any step leaves the old spool or the new one, whole',
  EIO: 'law 7: a disk that fails once at any step of fsck leaves the old spool or the new one',
  ENOSPC: 'law 7: a disk that is full from any step of fsck on leaves the old spool or the new one',
};

for (const [fault, stride] of [
  ['KILL', 29] as const,
  ['EIO', 29] as const,
  ['ENOSPC', 29] as const,
]) {
  const atLeast = { struck: 4, old: 1, repaired: 1 };
  everyStep({ title: titles[fault], fault, stride, atLeast }, (t) => {
    const template = makeSpool(join(scratch(t), 'spool'));
    const mails = Array.from({ length: MESSAGES }, (_, number) => ({
      bytes: `Subject: ${number}\n\n${'x'.repeat(3000)}\n`,
    }));
    const ids = handIn(template, mails);
    const file = join(template, 'spool.db');
    const choice = random(t);
    spoilPage(file, pagesOf(file, 'message_state')[0] ?? 0, 'zeros', choice);
    spoilPage(file, pagesOf(file, 'body')[7] ?? 0, 'garbage', choice);

    return async ({ folder, strikes, note }) => {
      cpSync(template, folder, { recursive: true });
      const first = await queueOf(t, folder, ['fsck'], strikes);
      note(`${first.code ?? first.signal} ${first.stderr}`);

      const input = bsmtp('s@example.com', ['new@example.org'], 'Subject: new\n\nx\n');
      const launcher = inCheckout('exim/exim-pipe');
      const handed = await run(t, launcher, ['1new-0', '--spool', folder], { input });
      // A spool with a broken page may not take it; then Exim keeps it.
      if (handed.code !== 0) assert.equal(handed.code, 75);

      const next = await queueOf(t, folder, ['fsck']);
      note(`then ${next.code}: ${next.stderr}`);
      assert.ok(next.code === 0 || next.code === 1);
      const found = readSpool(folder).map(({ id, eximId }) => (eximId === '1new-0' ? 'new' : id));
      const wanted = [
        ...ids.filter((_, at) => found.includes(ids[at] ?? '')),
        ...(handed.code === 0 ? ['new'] : []),
      ];
      assert.deepEqual(found, wanted);
      assert.equal(ids.filter((id) => !found.includes(id)).length, 1, 'one is lost');
      const lost = ids.find((id) => !found.includes(id)) ?? '';
      const told = `${String(first.stdout)}${String(next.stdout)}`;
      assert.ok(told.includes(`lost: message ${lost} `), 'nobody said what is lost');
      const stray = readdirSync(folder).filter((name) => /\.new|\.repaired/.test(name));
      assert.deepEqual(stray, []);
      return { struck: first.code !== 1, old: next.code === 1, repaired: next.code === 0 };
    };
  });
}
