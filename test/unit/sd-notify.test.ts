import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { SdNotify } from '../../src/host/systemd/sd-notify.ts';
import { unixDatagrams } from '../../src/host/systemd/unix-datagram.ts';
import { limits } from '../../src/limits.ts';
import { DatagramServer } from '../support/datagram-server.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
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

test('what a busy systemd does not take is told a second later, that the service is ready above all', async (t) => {
  const path = join(scratch(t), 'notify');
  const events = new EventEmitter();
  const server = new DatagramServer(t, path);
  const others = fillQueue(path);
  const clock = ownClock(t);
  const written = t.mock.method(process.stderr, 'write', () => true);
  const notify = new SdNotify({ NOTIFY_SOCKET: path });
  for (let i = 0; i < 3; i += 1) {
    notify.working(() => 'idle');
    assert.equal(notify.wantedInMs(), limits.statusMs);
    clock.pass(limits.statusMs);
  }
  written.mock.restore();
  const lines = written.mock.calls.map(({ arguments: [line] }) => String(line));
  assert.equal(lines.length, 1, 'it is said once');
  assert.match(lines.join(), /^<4>systemd cannot be told READY=1, STATUS=idle: sendto .*\n$/);

  server.listen(() => events.emit('heard'));
  while (server.received.length < others) await once(events, 'heard');
  notify.working(() => 'idle');
  assert.equal(notify.wantedInMs(), Infinity);
  notify.stopping();
  while (String(server.received.at(-1)) !== 'STOPPING=1') await once(events, 'heard');
  const told = server.received.slice(others).map(String);
  assert.deepEqual(told, ['READY=1\nSTATUS=idle', 'STOPPING=1']);
});

test('a process without a free file descriptor does not die of it, and tells systemd when it has one', async (t) => {
  const manager = new ServiceManager(t);
  const { code, stderr } = await run(
    t,
    'sh',
    ['-c', 'ulimit -n 64; exec "$0" --input-type=module -e "$1"', process.execPath, TOO_MANY_FILES],
    { env: { ...process.env, ...manager.environment } },
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^<4>systemd cannot be told READY=1, STATUS=idle: .*\n$/);
  assert.equal(await manager.hears(/READY/), 'READY=1\nSTATUS=idle');
});

test('on a processor for which koffi is not installed a service works, and says that systemd is not told', async (t) => {
  const { code, stderr } = await run(
    t,
    process.execPath,
    ['--input-type=module', '-e', WITHOUT_KOFFI],
    { env: { ...process.env, NOTIFY_SOCKET: '/nowhere' } },
  );
  assert.equal(code, 0, stderr);
  assert.match(
    stderr,
    /^<4>systemd cannot be told READY=1, STATUS=idle: Cannot find module '@koromix\/koffi-linux-none'\n$/,
  );
});

/** Fills the queue of a socket that nobody reads from. Returns how many datagrams are in it. */
function fillQueue(path: string): number {
  const { send, close } = unixDatagrams(path);
  let sent = 0;
  while (!send(Buffer.from('of another service'))) sent += 1;
  close();
  return sent;
}

const imported = `
  const { SdNotify } = await import(${JSON.stringify(inCheckout('dist/host/systemd/sd-notify.js'))});
  const notify = new SdNotify();
  let now = 0;
  performance.now = () => (now += ${limits.statusMs});
  const work = () => notify.working(() => 'idle');`;

const TOO_MANY_FILES = `
  import { closeSync, openSync } from 'node:fs';
  ${imported}
  process.stderr.write(''); // Opens it.
  const files = [];
  try {
    for (;;) files.push(openSync('/dev/null'));
  } catch {}
  work();
  for (const file of files) closeSync(file);
  work();
  notify.stopping();`;

const WITHOUT_KOFFI = `
  Object.defineProperty(process, 'arch', { value: 'none' });
  ${imported}
  work();
  work();
  notify.stopping();`;
