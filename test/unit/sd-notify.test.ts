import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { SdNotify } from '../../src/host/systemd/sd-notify.ts';
import { ServiceManager } from '../support/service-manager.ts';

/** A monotonic clock that only `pass` moves. */
function ownClock(t: TestContext): { pass(ms: number): void } {
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  return { pass: (ms) => void (now += ms) };
}

test('ready once, the status when it is another, a sign of life each time', async (t) => {
  const manager = new ServiceManager(t, 60_000);
  const clock = ownClock(t);
  const notify = new SdNotify(manager.environment);
  for (const status of ['idle', 'idle', 'busy']) {
    notify.working(() => status);
    clock.pass(1000);
  }
  notify.stopping();
  await manager.hears(/STOPPING/);
  assert.deepEqual(manager.told, [
    'READY=1\nSTATUS=idle\nWATCHDOG=1',
    'WATCHDOG=1',
    'STATUS=busy\nWATCHDOG=1',
    'STOPPING=1',
  ]);
});

test('a busy loop tells at most once a second, and is asked for the rest a second later', async (t) => {
  const manager = new ServiceManager(t, 60_000);
  const clock = ownClock(t);
  const notify = new SdNotify(manager.environment);
  notify.working(() => 'first');
  assert.equal(notify.wantedInMs(), 30_000, 'half of what the watchdog allows');
  clock.pass(400);
  notify.working(() => assert.fail('not asked for'));
  assert.equal(notify.wantedInMs(), 600);
  clock.pass(600);
  notify.working(() => 'last');
  assert.equal(notify.wantedInMs(), 30_000);
  await manager.hears(/last/);
  assert.equal(manager.told.length, 2);
});

test('a status is cut: systemd passes over a datagram of more than 4096 octets, sign of life and all', async (t) => {
  const manager = new ServiceManager(t, 60_000);
  new SdNotify(manager.environment).working(() => '世\n'.repeat(75_000));
  const told = await manager.hears(/^READY=1\nSTATUS=世\\x0a世.*\.\.\.\nWATCHDOG=1$/);
  assert.ok(Buffer.byteLength(told) <= 4096, `${Buffer.byteLength(told)}`);
});

test('without a watchdog nothing is wanted of an idle loop', async (t) => {
  const manager = new ServiceManager(t);
  const notify = new SdNotify(manager.environment);
  notify.working(() => 'idle');
  assert.equal(notify.wantedInMs(), Infinity);
  assert.equal(await manager.hears(/READY/), 'READY=1\nSTATUS=idle');
});

test('a status is one line, whatever is in it: foreign text tells systemd nothing', async (t) => {
  const manager = new ServiceManager(t);
  new SdNotify(manager.environment).working(() => 'the proxy says\nMAINPID=1\u2028\x1b[2J');
  assert.match(await manager.hears(/STATUS/), /^READY=1\nSTATUS=the proxy says\\x0aMAINPID=1.*$/);
});

test('where no service manager listens nothing happens', () => {
  const notify = new SdNotify({ WATCHDOG_USEC: '1000000' });
  notify.working(() => assert.fail('not asked for'));
  notify.stopping();
  assert.equal(notify.wantedInMs(), Infinity);
});
