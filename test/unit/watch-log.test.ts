import assert from 'node:assert/strict';
import { rmSync, truncateSync } from 'node:fs';
import test from 'node:test';
import { systemClock } from '../../src/host/clock.ts';
import { limits } from '../../src/limits.ts';
import { Spool } from '../../src/spool/spool.ts';
import { watchLog } from '../../src/sqlite/watch-log.ts';
import { scratch } from '../support/scratch.ts';

test('a look at a large log whose database was removed ends nothing: the next operation tells of it', (t) => {
  const spool = new Spool(scratch(t), 'drain');
  const looks: (() => void)[] = [];
  const timer = (_: number, callback: () => void) => {
    looks.push(callback);
    return () => {};
  };
  const silent = { grown: () => {}, shrunk: () => {} };
  watchLog(spool.files, silent, { ...systemClock, timer });
  truncateSync(`${spool.db.name}-wal`, limits.logAlarmBytes + 1_000_000);
  rmSync(spool.db.name);
  looks[0]?.();
  assert.throws(() => spool.transaction(() => {}), { name: 'DatabaseReplacedError' });
  spool.close();
});
