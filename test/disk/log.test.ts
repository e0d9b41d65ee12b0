import assert from 'node:assert/strict';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { logIsCut } from '../../src/sqlite/log-is-cut.ts';
import { rebuildSpool } from '../../src/spool/recover/rebuild-spool.ts';
import { Spool } from '../../src/spool/spool.ts';
import { handOver } from '../support/hand-over.ts';
import { random } from '../support/random.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { signedPost } from '../support/signed-post.ts';

const MESSAGES = 40;
/** What a disk may lose at once. */
const BLOCK = 4096;

/** What a spool was when its writers died: `ids` are acknowledged, `ends` is the log's size after each. */
function deadSpool(t: TestContext): { folder: string; ids: string[]; ends: number[] } {
  const live = join(scratch(t), 'spool');
  const folder = join(scratch(t), 'spool');
  mkdirSync(live);
  const spool = new Spool(live, 'pipe');
  const [ids, ends]: [string[], number[]] = [[], []];
  for (let number = 0; number < MESSAGES; number += 1) {
    ids.push(enqueue(spool, handOver({ eximId: `1x-${number}` }), 1000).id);
    ends.push(statSync(join(live, 'spool.db-wal')).size);
  }
  cpSync(live, folder, { recursive: true });
  spool.close();
  return { folder, ids, ends };
}

test('law 1, law 7: a spool whose -shm is lost has every message that was acknowledged', (t) => {
  const { folder, ids } = deadSpool(t);
  rmSync(join(folder, 'spool.db-shm'));
  assert.deepEqual(rebuildSpool(folder, 2000).faults, []);
  assert.deepEqual(
    readSpool(folder).map(({ id }) => id),
    ids,
  );
});

for (const shm of ['kept', 'lost'] as const) {
  test(`law 7: a log that is cut off, -shm ${shm}: what it still has is there, and what is lost is said`, (t) => {
    const choice = random(t);
    const { folder, ids, ends } = deadSpool(t);
    for (let run = 0; run < 12; run += 1) {
      const cut = join(scratch(t), 'spool');
      cpSync(folder, cut, { recursive: true });
      const at = choice.below(ends.at(-1) ?? 0);
      truncateSync(join(cut, 'spool.db-wal'), at);
      if (shm === 'lost') rmSync(join(cut, 'spool.db-shm'));
      const { faults } = rebuildSpool(cut, 2000);
      const whole = ends.filter((end) => end <= at).length;
      // Without the first frames there is no spool in the file.
      if (at < (ends[0] ?? 0)) continue;
      if (shm === 'kept') {
        assert.match(faults.join(), /the write-ahead log has lost its end/);
        const log = join(cut, 'spool.db-wal');
        assert.ok(!existsSync(log), 'the old log would be taken for that of the new file');
      }
      assert.deepEqual(
        readSpool(cut).map(({ id }) => id),
        ids.slice(0, whole),
        `cut at ${at}`,
      );
      assert.deepEqual(rebuildSpool(cut, 3000).faults, [], 'repaired for good');
    }
  });
}

for (const shm of ['kept', 'lost'] as const) {
  test(`law 7: a block of the log that is lost, -shm ${shm}: the commits behind it are said to be lost`, (t) => {
    const choice = random(t);
    const { folder, ids, ends } = deadSpool(t);
    const size = ends.at(-1) ?? 0;
    // What is behind must be more than the commit that a power cut may have torn.
    const last = ends.at(-4) ?? 0;
    for (let run = 0; run < 12; run += 1) {
      const spoiled = join(scratch(t), 'spool');
      cpSync(folder, spoiled, { recursive: true });
      const log = openSync(join(spoiled, 'spool.db-wal'), 'r+');
      // The first of them has the header of the log.
      const at = run === 0 ? 0 : BLOCK * choice.below(Math.floor(last / BLOCK));
      writeSync(log, Buffer.alloc(BLOCK), 0, BLOCK, at);
      closeSync(log);
      assert.equal(statSync(join(spoiled, 'spool.db-wal')).size, size);
      if (shm === 'lost') rmSync(join(spoiled, 'spool.db-shm'));
      const { faults } = rebuildSpool(spoiled, 2000);
      assert.match(faults.join(), /the write-ahead log has lost its end/, `block at ${at}`);
      const whole = ends.filter((end) => end <= at).length;
      const left = readSpool(spoiled).map(({ id }) => id);
      assert.deepEqual(left, ids.slice(0, whole), `block at ${at}`);
      assert.deepEqual(rebuildSpool(spoiled, 3000).faults, [], 'repaired for good');
    }
  });
}

/** Spoils a block of a log, so that commits behind it are lost. */
function spoilLog(log: string): void {
  const fd = openSync(log, 'r+');
  writeSync(fd, Buffer.alloc(BLOCK), 0, BLOCK, 2 * BLOCK);
  closeSync(fd);
}

test('law 7: a log that has lost its end: drain says so when it opens the spool, once, and sends what is left', async (t) => {
  const road = new Road(t);
  const { folder } = deadSpool(t);
  cpSync(folder, road.spool, { recursive: true });
  spoilLog(join(road.spool, 'spool.db-wal'));
  await road.proxy();
  const drain = await road.drain(['--once']).ended;
  assert.match(
    drain.stderr,
    /^attention: the write-ahead log of the spool \S+ has lost its end: /m,
  );
  assert.equal(drain.code, 0, drain.stderr);
  const again = await road.drain(['--once']).ended;
  assert.doesNotMatch(again.stderr, /lost its end/);
});

test('law 6: a log of the ledger that has lost its end: the proxy says so when it opens it', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  for (let number = 0; number < 10; number += 1) await signedPost(road.address, { key: road.key });
  await proxy.stop('SIGKILL');
  spoilLog(join(road.folder, 'ledger.db-wal'));
  const next = await road.proxy();
  await next.says(/^attention: the write-ahead log of the ledger \S+ has lost its end: /m);
});

test('a log that a killed program left whole, also after an earlier use of it that was longer, or in use by another program, is nothing to be told of', async (t) => {
  const { folder } = deadSpool(t);
  const file = join(folder, 'spool.db');
  const copy = join(scratch(t), 'spool');
  cpSync(folder, copy, { recursive: true });
  assert.equal(logIsCut(file), false);
  assert.ok(!existsSync(`${file}-wal`), 'it was copied into the file');

  const used = new Spool(copy, 'pipe');
  spoilLog(join(copy, 'spool.db-wal'));
  assert.equal(logIsCut(join(copy, 'spool.db')), false, 'others have it open');
  used.close();

  // A log that begins anew over one that was longer.
  const live = new Spool(join(scratch(t)), 'pipe');
  for (let number = 0; number < MESSAGES; number += 1)
    enqueue(live, handOver({ eximId: `1x-${number}` }), 1000);
  live.db.pragma('wal_checkpoint(RESTART)');
  enqueue(live, handOver({ eximId: '1y-0' }), 1000);
  const left = join(scratch(t), 'spool');
  cpSync(live.folder, left, { recursive: true });
  live.close();
  assert.equal(logIsCut(join(left, 'spool.db')), false);
  assert.equal(readSpool(left).length, MESSAGES + 1);
});

test('a log that is too large is not looked into', (t) => {
  const { folder } = deadSpool(t);
  const file = join(folder, 'spool.db');
  spoilLog(`${file}-wal`);
  truncateSync(`${file}-wal`, limits.logLookBytes + 1);
  assert.equal(logIsCut(file), false);
});
