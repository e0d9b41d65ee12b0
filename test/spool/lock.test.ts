import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { drainLock } from '../../src/spool/locks.ts';
import { inCheckout, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

/** Another process that takes the lock and says whether it has it; it keeps it until it ends. */
const TAKE = `
  import { drainLock } from ${JSON.stringify(inCheckout('dist/spool/locks.js'))};
  console.error(drainLock(process.argv[1]) ? 'it is mine' : 'somebody has it');
  setInterval(() => {}, 60_000);
`;

async function anotherProcess(t: Parameters<typeof start>[0], folder: string): Promise<Program> {
  const program = start(t, process.execPath, ['--input-type=module', '--eval', TAKE, folder]);
  await program.says(/it is mine|somebody has it/);
  return program;
}

test('a spool has one drain: the second holder gets nothing until the first releases', (t) => {
  const folder = scratch(t);
  const first = drainLock(folder);
  assert.ok(first);
  assert.equal(drainLock(folder), undefined);
  assert.equal(drainLock(folder), undefined, 'nor at the next try');
  first.release();
  const second = drainLock(folder);
  assert.ok(second);
  second.release();
});

test('the lock holds against other processes, also after this one asked for it in vain', async (t) => {
  const folder = scratch(t);
  const lock = drainLock(folder);
  // To open and close the file once more must not drop the lock that is held on it.
  assert.equal(drainLock(folder), undefined);
  const other = await anotherProcess(t, folder);
  assert.match(other.stderr, /somebody has it/);
  await other.stop();
  lock?.release();
  const next = await anotherProcess(t, folder);
  assert.match(next.stderr, /it is mine/);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`the lock is free again when its holder dies of ${signal} (law 7)`, async (t) => {
    const folder = scratch(t);
    const holder = await anotherProcess(t, folder);
    assert.match(holder.stderr, /it is mine/);
    assert.equal(drainLock(folder), undefined);
    await holder.stop(signal);
    const lock = drainLock(folder);
    assert.ok(lock);
    lock.release();
  });
}

test('a second drain ends with 75; after SIGKILL of the first the next one starts (law 7)', async (t) => {
  const road = new Road(t);
  const first = road.drain();
  await first.says(/drain of .* started/);
  const second = road.drain();
  const [said] = await second.says(/another drain is at work on|drain of .* started/);
  assert.match(said, /another drain/);
  assert.equal((await second.ended).code, 75);
  await first.stop('SIGKILL');
  const third = road.drain();
  await third.says(/drain of .* started/);
});

test('the lock holds when its holder keeps no reference to it and memory is collected', async (t) => {
  const folder = scratch(t);
  const holder = start(t, process.execPath, [
    '--expose-gc',
    '--input-type=module',
    '--eval',
    `import { drainLock } from ${JSON.stringify(inCheckout('dist/spool/locks.js'))};
     const take = () => drainLock(process.argv[1]) !== undefined;
     console.error(take() ? 'it is mine' : 'somebody has it');
     // What a collection found unreachable is closed in a later turn of the event loop.
     for (let turn = 0; turn < 5; turn++) {
       gc();
       await new Promise((resolve) => setTimeout(resolve, 10));
     }
     console.error('collected');
     setInterval(() => {}, 60_000);`,
    folder,
  ]);
  await holder.says(/it is mine/);
  await holder.says(/collected/);
  assert.equal(drainLock(folder), undefined);
});

test('a lock of one spool is none of another, and its file stays empty', (t) => {
  const [one, other] = [scratch(t), scratch(t)];
  const locks = [drainLock(one), drainLock(other)];
  for (const lock of locks) {
    assert.ok(lock);
    lock.release();
  }
  assert.equal(statSync(join(one, 'drain.lock')).size, 0);
});

test('a drain that starts while somebody only looks gets its lock all the same', async (t) => {
  const folder = scratch(t);
  const looking = await anotherProcess(t, folder);
  assert.equal(drainLock(folder), undefined);
  const waiting = start(t, process.execPath, [
    '--input-type=module',
    '--eval',
    `import { drainLock } from ${JSON.stringify(inCheckout('dist/spool/locks.js'))};
     console.error('asks');
     console.error(drainLock(process.argv[1], 60_000) ? 'it is mine' : 'somebody has it');`,
    folder,
  ]);
  await waiting.says(/asks/);
  await looking.stop('SIGKILL');
  await waiting.says(/it is mine/);
});
