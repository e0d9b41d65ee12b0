import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { handIn } from '../support/hand-in.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { ServiceManager } from '../support/service-manager.ts';

test('drain is ready when its spool is open, and systemctl status tells depth and endpoint', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.2.2', reason: 'full' })),
  );
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...manager.environment });
  await manager.hears(/^READY=1\nSTATUS=\d queued/);
  assert.match(manager.told[0] ?? '', /^READY=1\n/, 'the first of all');
  await manager.hears(/STATUS=1 queued, 0 being sent; the last post passed \d+ (?:ms|s) ago/);
  assert.equal((await drain.stop()).code, 0);
  await manager.hears(/^STOPPING=1$/);
  assert.equal(manager.told.filter((each) => each.includes('READY=1')).length, 1);
});

test('an outage is in the status, with its reason', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t);
  handIn(road.spool, [{}, {}]);
  road.drain([], manager.environment);
  await manager.hears(/STATUS=2 queued, 0 being sent; the proxy is down for .*ECONNREFUSED/);
});

test('a drain that cannot open its spool is never ready', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t);
  mkdirSync(join(road.spool, 'spool.db'));
  assert.equal((await road.drain([], manager.environment).ended).code, 74);
  assert.deepEqual(manager.told, []);
});

test('an idle drain gives signs of life as often as the watchdog wants, and so does one that waits for its spool', async (t) => {
  const road = new Road(t);
  const manager = new ServiceManager(t, 400);
  const drain = road.drain([], manager.environment);
  // By its own looks alone, each half a minute, it would take longer than a test may.
  await manager.hears(/WATCHDOG=1/, 12);
  const other = new Database(join(road.spool, 'spool.db'));
  other.exec(
    `CREATE TRIGGER sick BEFORE UPDATE ON message BEGIN SELECT raise(ABORT, 'disk is sick'); END`,
  );
  handIn(road.spool, [{}]);
  await drain.says(/cannot be written, so nothing is sent: disk is sick/);
  await manager.hears(/STATUS=the spool cannot be written, so nothing is sent: disk is sick/);
  const before = manager.told.length;
  await manager.hears(/WATCHDOG=1/, before + 3);
  other.close();
});
