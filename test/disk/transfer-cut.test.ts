import assert from 'node:assert/strict';
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { CutDisk } from '../support/cut-disk.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { done } from '../support/queues.ts';
import { readSpool } from '../support/read-spool.ts';
import { bsmtp } from '../support/road.ts';

// The power is cut as soon as a command of a move has said that it is done.

const COUNT = 5;

test(
  'law 6, law 7: what export, import, confirm and take-back have said survives a power cut',
  { ...needs('root', 'ext4', 'xfs'), timeout: 300_000 },
  async (t) => {
    const disk = await CutDisk.make(t, ['from', 'to', 'files']);
    const at = (...words: string[]) => join(disk.folder, ...words);
    const onDisk = async (file: string, args: string[], input: Buffer | string = '') => {
      const [command, words] = disk.inside(file, ...args);
      const { code, stdout, stderr } = await run(t, command, words, { input });
      assert.equal(code, 0, `${stderr}${String(stdout)}`);
    };
    const queue = async (spool: string, ...words: string[]) => {
      const program = inCheckout('dist/bin/appengine-mailer.js');
      await onDisk(process.execPath, [program, 'queue', ...words, '--spool', at(spool)]);
      await disk.cut();
      return disk.recovered();
    };
    const pipe = async (spool: string, eximId: string) =>
      onDisk(
        inCheckout('exim/exim-pipe'),
        [eximId, '--spool', at(spool)],
        bsmtp('s@example.com', ['r@example.org'], `Subject: ${eximId}\n\n${'x\n'.repeat(50_000)}`),
      );
    const each = (state: string) => Array.from({ length: COUNT }, () => state);
    for (let number = 0; number < COUNT; number += 1) await pipe('from', `1abc-${number}`);
    await pipe('to', 'first');
    const file = at('files', 'export');

    const first = await queue('from', 'export', file);
    assert.deepEqual(states(first, 'from'), each('held'));
    // It is whole there: another queue takes all of it.
    const other = join(first, 'other');
    cpSync(join(first, 'to'), other, { recursive: true });
    assert.match(
      await done(t, other, 'import', join(first, 'files', 'export')),
      new RegExp(`^imported ${COUNT} messages?,`),
    );

    const back = await queue('from', 'export', '--take-back', file);
    assert.deepEqual(states(back, 'from'), each('queued'));
    await queue('from', 'export', `${file}2`);
    const imported = await queue('to', 'import', `${file}2`);
    assert.deepEqual(states(imported, 'to'), ['queued', ...each('queued')]);
    assert.ok(existsSync(join(imported, 'files', 'export2')));
    const confirmed = await queue('from', 'export', '--confirm', `${file}2`);
    assert.deepEqual(states(confirmed, 'from'), each('deleted'));
  },
);

function states(copy: string, spool: string): string[] {
  return readSpool(join(copy, spool)).map(({ state }) => state);
}
