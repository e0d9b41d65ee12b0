import assert from 'node:assert/strict';
import test from 'node:test';
import { idleMemory } from '../support/idle-memory.ts';

/** Node.js itself takes 43 to 46 MB, before it runs anything. */
const MOST_MB = 80;

test('drain and proxy of the packages take little memory while they have nothing to do', async (t) => {
  for (const [name, megabytes] of Object.entries(await idleMemory(t))) {
    t.diagnostic(`${name}: ${megabytes.toFixed(1)} MB`);
    assert.ok(megabytes <= MOST_MB, `${name} takes ${megabytes.toFixed(1)} MB`);
  }
});
