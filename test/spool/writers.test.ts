import assert from 'node:assert/strict';
import test from 'node:test';
import { freshSpool } from '../support/fresh-spool.ts';
import { RestlessWriters } from '../support/restless-writers.ts';

const WRITERS = 4;
const TURNS = 60;

test('drain gets its turn among writers that never pause', async (t) => {
  const spool = freshSpool(t);
  const { folder } = spool;
  const writers = new RestlessWriters(t, WRITERS, { folder, message: 'short\n', holdMs: 3 });
  await writers.started();

  let passed = 0;
  for (let turn = 0; turn < TURNS; turn += 1) {
    const before = writers.commits;
    spool.transaction(() => {
      passed += writers.commits - before;
    });
    await new Promise(setImmediate);
  }
  await writers.stop();
  // No more than if each had its turn after the other.
  assert.ok(passed <= TURNS * WRITERS, `${passed} transactions of others passed ${TURNS} of drain`);
});
