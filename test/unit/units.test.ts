import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { mounted } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

const units = ['appengine-mailer.service', 'appengine-mailer-proxy.service'];
const all = [...units, 'appengine-mailer-intake.service'];

const fileOf = (name: string) => inCheckout(`systemd/${name}`);
const textOf = (name: string) => readFileSync(fileOf(name), 'utf8');

/** The values of a setting, in their order. */
function values(unit: string, name: string): string[] {
  return [...textOf(unit).matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(
    ([, text = '']) => text,
  );
}

/** A time span of systemd.time(7), of one unit. */
function milliseconds([text = '']: string[]): number {
  const [, number, unit = ''] = /^(\d+)(s|min)$/.exec(text) ?? [];
  return Number(number) * (unit === 's' ? 1000 : 60_000);
}

for (const unit of all) {
  test(`${unit}: systemd-analyze security is at most 1.2`, needs('systemd'), async (t) => {
    const args = ['security', '--offline=true', '--threshold=12', fileOf(unit)];
    const { code, stdout } = await run(t, '/usr/bin/systemd-analyze', args);
    assert.equal(code, 0, stdout.toString());
    const [, level] = /exposure level for \S+: (\d+\.\d+)/.exec(stdout.toString()) ?? [];
    assert.ok(Number(level) <= 1.2, `${level}`);
  });

  test(`${unit}: systemd finds nothing wrong with it`, needs('systemd'), async (t) => {
    // The programs are not installed here.
    const text = textOf(unit).replace(
      /\/usr\/(?:s?bin|lib)\/appengine-mailer(?:-proxy)?(?:\/copy-keys)?/g,
      '/bin/true',
    );
    const folder = scratch(t);
    const file = join(folder, unit);
    writeFileSync(file, text);
    // The one that its service requires.
    const socket = 'appengine-mailer-intake.socket';
    const account = /^Socket(?:User|Group)=.*$/gm; // Which is not there, either.
    writeFileSync(join(folder, socket), textOf(socket).replace(account, ''));
    const { code, stderr } = await run(t, '/usr/bin/systemd-analyze', ['verify', '--man=no', file]);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, new RegExp(unit.replaceAll('.', '\\.')));
  });

  test(`${unit}: /etc/default is read by the program alone, which systemd would read otherwise`, () => {
    assert.deepEqual(values(unit, 'EnvironmentFile'), []);
  });

  test(`${unit}: its lines have the facility mail`, () => {
    assert.deepEqual(values(unit, 'SyslogFacility'), ['mail']);
  });
}

for (const unit of units) {
  test(`${unit}: what is slow on purpose is not killed for it`, () => {
    const watchdog = milliseconds(values(unit, 'WatchdogSec'));
    // Waiting for another writer stops everything: three times in a turn is the worst that is known.
    assert.ok(limits.busyMs < watchdog / 2 && 3 * limits.busyMs + limits.lookMs < watchdog);
    assert.ok(limits.stopMs < milliseconds(values(unit, 'TimeoutStopSec')));
  });

  test(`${unit}: secrets are handed over by systemd and leave no core file (law 10)`, () => {
    const text = textOf(unit);
    assert.deepEqual(values(unit, 'Environment'), ['MALLOC_ARENA_MAX=1']);
    assert.match(text, /^LimitCORE=0$/m);
    for (const exec of values(unit, 'ExecStart')) assert.doesNotMatch(exec, /secret/i);
  });

  test(`${unit}: without a configuration it is skipped, and it never stops trying`, () => {
    assert.match(
      values(unit, 'ConditionPathExists')[0] ?? '',
      /^\/etc\/envdir\/GMAIL_SECRET_KEYS?$/,
    );
    assert.deepEqual(values(unit, 'StartLimitIntervalSec'), ['0']);
    assert.deepEqual(values(unit, 'Restart'), ['always']);
  });

  test(`${unit}: the lines of a large backlog are all kept`, () => {
    const [intervalMs, burst] = [
      milliseconds(values(unit, 'LogRateLimitIntervalSec')),
      Number(values(unit, 'LogRateLimitBurst')),
    ];
    // Ten times as fast as this project has ever been: a line or two for each message.
    assert.ok((burst / intervalMs) * 1000 >= 20_000);
  });
}

test('the units start no program but ours and the shell, which is on every machine', () => {
  const execs = all.flatMap((unit) =>
    [...textOf(unit).matchAll(/^Exec\w+=\+?(?<program>\S+)/gm)].map(
      ({ groups }) => groups?.['program'] ?? '',
    ),
  );
  const strange = execs.filter(
    (program) => !/^\/usr\/(?:s?bin|lib)\/appengine-mailer/.test(program) && program !== '/bin/sh',
  );
  assert.deepEqual(strange, []);
});

test(
  'the socket waits for keys as its service does, is of the account, and systemd finds nothing wrong with it',
  needs('systemd'),
  async (t) => {
    const [name, service] = ['appengine-mailer-proxy.socket', 'appengine-mailer-proxy.service'];
    assert.deepEqual(values(name, 'ConditionPathExists'), values(service, 'ConditionPathExists'));
    assert.deepEqual(values(name, 'SocketUser'), values(service, 'User'));
    assert.deepEqual(values(name, 'SocketGroup'), values(service, 'Group'));
    assert.deepEqual(values(name, 'SocketMode'), ['0660']);
    const folder = scratch(t);
    for (const unit of [name, service]) {
      const text = textOf(unit).replace(/^(Exec\w+)=.*$/gm, '$1=/bin/true');
      writeFileSync(join(folder, unit), text);
    }
    const args = ['verify', '--man=no', join(folder, name)];
    const { code, stderr } = await run(t, '/usr/bin/systemd-analyze', args);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /appengine-mailer-proxy/);
  },
);

test(
  'the socket unit gets the address of /etc/default, where systemd can hold it',
  needs('root'),
  async (t) => {
    const inside = await mounted(t, '/etc/default');
    const to = scratch(t);
    const unix = '/run/appengine-mailer-proxy.sock';
    const cases: [line: string, held: string[] | undefined][] = [
      ['', undefined],
      ['APPENGINE_MAILER_LISTEN=127.0.0.1:8025', undefined],
      ['APPENGINE_MAILER_LISTEN=0.0.0.0:80 # all', [unix, '0.0.0.0:80']],
      ['APPENGINE_MAILER_LISTEN="[::1]:8025"', [unix, '[::1]:8025']],
      ['APPENGINE_MAILER_LISTEN=unix:/run/a%b.sock', [unix, '/run/a%%b.sock']],
      [`APPENGINE_MAILER_LISTEN=unix:${unix}`, [unix]],
      [' export APPENGINE_MAILER_LISTEN = 0.0.0.0:80', [unix, '0.0.0.0:80']],
      ['APPENGINE_MAILER_LISTEN=localhost:8025', [unix]],
      ['APPENGINE_MAILER_LISTEN=127.0.0.1:0', [unix]],
    ];
    for (const [line, held] of cases) {
      const script = 'echo "$0" >/etc/default/appengine-mailer-proxy; exec "$1" "$2"';
      const generator = fileOf('generators/appengine-mailer-proxy');
      const { code, stderr } = await run(t, ...inside('sh', '-c', script, line, generator, to));
      assert.equal(code, 0, stderr);
      const file = join(to, 'appengine-mailer-proxy.socket.d/address.conf');
      const text = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
      const lines = held?.map((each) => `ListenStream=${each}\n`).join('');
      assert.equal(text, lines && `[Socket]\nListenStream=\n${lines}`, line);
      rmSync(join(to, 'appengine-mailer-proxy.socket.d'), { recursive: true, force: true });
    }
  },
);

test('both units are hardened alike', () => {
  const [drain, proxy] = units.map((unit) => textOf(unit).split('\nUMask=')[1]);
  assert.equal(drain, proxy);
});

test(
  'the account, and the folder of the spool for its group, are made as DESIGN says',
  needs('systemd', 'root'),
  async (t) => {
    const root = scratch(t);
    mkdirSync(join(root, 'etc'));
    const users = await run(t, '/usr/bin/systemd-sysusers', [
      '--root',
      root,
      fileOf('appengine-mailer.sysusers'),
    ]);
    assert.equal(users.code, 0, users.stderr);
    const accounts = readFileSync(join(root, 'etc/passwd'), 'utf8');
    const [, uid, gid] = /^appengine-mailer:.*?:(\d+):(\d+):.*nologin$/m.exec(accounts) ?? [];

    const args = ['--root', root, '--create', fileOf('appengine-mailer.tmpfiles')];
    const folders = await run(t, '/usr/bin/systemd-tmpfiles', args);
    assert.equal(folders.code, 0, folders.stderr);
    const spool = statSync(join(root, 'var/spool/appengine-mailer'));
    assert.equal(spool.mode & 0o7777, 0o2770);
    assert.deepEqual([spool.uid, spool.gid].map(String), [uid, gid]);
  },
);
