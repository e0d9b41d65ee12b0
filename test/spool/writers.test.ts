import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { freshSpool } from '../support/fresh-spool.ts';
import type { WriterData } from '../support/restless-writer.ts';
import { until } from '../support/until.ts';

const WRITERS = 4;
const TURNS = 60;

test('drain gets its turn among writers that never pause', async (t) => {
  const spool = freshSpool(t);
  const [commits, stop] = [shared(), shared()];
  const workerData: WriterData = { folder: spool.folder, commits, stop };
  const file = new URL('../support/restless-writer.ts', import.meta.url);
  const writers = Array.from({ length: WRITERS }, () => new Worker(file, { workerData }));
  t.after(async () => {
    Atomics.store(stop, 0, 1);
    await Promise.all(writers.map(async (writer) => writer.terminate()));
  });
  await until(
    () => Atomics.load(commits, 0) > WRITERS * 5,
    () => 'the writers do not commit',
  );

  let passed = 0;
  for (let turn = 0; turn < TURNS; turn += 1) {
    const before = Atomics.load(commits, 0);
    spool.transaction(() => {
      passed += Atomics.load(commits, 0) - before;
    });
    await new Promise(setImmediate);
  }
  Atomics.store(stop, 0, 1);
  await Promise.all(writers.map(async (writer) => once(writer, 'exit')));
  // No more than if they took turns.
  assert.ok(passed <= TURNS * WRITERS, `${passed} transactions of others passed ${TURNS} of drain`);
  t.diagnostic(`${passed} for ${TURNS}`);
});

function shared(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(4));
}
