import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readlinkSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { connect } from '../../src/sqlite/open-database.ts';
import { handIn } from '../support/hand-in.ts';
import { inCheckout, start } from '../support/program.ts';
import { readSpool } from '../support/read-spool.ts';
import { bsmtp } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { until } from '../support/until.ts';

test('law 1, law 7: exim-pipe that opened the file which fsck then replaced stores nothing in it: 75', async (t) => {
  const folder = join(scratch(t), 'spool');
  mkdirSync(folder);
  handIn(folder, [{}]);
  const file = join(folder, 'spool.db');
  cpSync(file, `${file}.new`);
  // As rebuildDatabase does: lock, rename, unlock.
  const lock = connect(file);
  lock.pragma('locking_mode = EXCLUSIVE');
  lock.exec('BEGIN IMMEDIATE');
  const pipe = start(
    t,
    process.execPath,
    [inCheckout('dist/exim-pipe.cjs'), '1new-0', `--spool=${folder}`],
    {
      input: bsmtp('s@example.com', ['r@example.org'], 'x\n'),
    },
  );
  await until(
    () => hasOpen(pipe.child.pid ?? 0, file),
    () => 'exim-pipe does not open the spool',
  );
  renameSync(`${file}.new`, file);
  lock.close();
  const { code, stdout } = await pipe.ended;
  assert.equal(code, 75);
  assert.match(String(stdout), /was just replaced: try again/);
  assert.equal(readSpool(folder).length, 1);
});

/** Whether a process has the file open. */
function hasOpen(pid: number, file: string): boolean {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).some((fd) => {
    try {
      return readlinkSync(join(folder, fd)) === file;
    } catch {
      return false; // It was closed meanwhile.
    }
  });
}
