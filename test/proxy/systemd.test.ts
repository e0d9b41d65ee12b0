import assert from 'node:assert/strict';
import test from 'node:test';
import { bsmtp, Road } from '../support/road.ts';
import { ServiceManager } from '../support/service-manager.ts';

test('the proxy is ready when it answers, gives signs of life, and its status counts what it answered', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t, 400);
  const proxy = await road.proxy([], manager.environment);
  const ready = await manager.hears(/^READY=1\n/);
  assert.match(ready, /STATUS=listens on 127\.0\.0\.1:\d+; .*: 0 sent, 0 deferred, 0 refused/);
  assert.equal((await fetch(`http://${road.address}/`)).status, 200);

  await road.pipe('1abc-1', bsmtp('s@example.com', ['r@example.org', 'none'], 'x\n'));
  await road.drain(['--once']).ended;
  await manager.hears(/: 1 sent, 0 deferred, 1 refused\nWATCHDOG=1/);
  await manager.hears(/^WATCHDOG=1$/, 3);
  assert.equal((await proxy.stop()).code, 0);
  await manager.hears(/^STOPPING=1$/);
});

test('a proxy that cannot listen is never ready', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t);
  await road.proxy();
  const other = new Road(t);
  other.address = road.address;
  await assert.rejects(other.proxy([], manager.environment), /EADDRINUSE/);
  assert.deepEqual(manager.told, []);
});
