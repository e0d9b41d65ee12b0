import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { Road } from '../support/road.ts';

/** Node.js itself takes 43 MB; from 22 on it has more of its own code in memory once there is HTTP and TLS. */
const MOST_MB = process.version.startsWith('v20.') ? 80 : 100;

test('drain and proxy take little memory while they have nothing to do', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const drain = road.drain();
  await drain.says(/drain of .* started/);
  for (const [name, { child }] of Object.entries({ proxy, drain })) {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    const megabytes = (Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024) / 1e6;
    t.diagnostic(`${name}: ${megabytes.toFixed(1)} MB`);
    assert.ok(megabytes < MOST_MB, `${name} takes ${megabytes.toFixed(1)} MB`);
  }
});
