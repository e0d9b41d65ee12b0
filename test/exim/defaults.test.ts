import assert from 'node:assert/strict';
import { chmodSync, chownSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { account } from '../support/account.ts';
import { mounted } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { run } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';

const FILE = '/etc/default/appengine-mailer';

test('the spool that the defaults name is used', needs('root'), async (t) => {
  const { road, line } = await handOver(t, '640');
  assert.match(line, /^0 queued [0-9a-f]+\n$/);
  assert.equal(stored(road.spool).length, 1);
});

test(
  'law 1: 75 and why where the defaults cannot be read: another spool may be meant',
  needs('root'),
  async (t) => {
    const { road, line } = await handOver(t, '600', '--spool');
    assert.match(line, /^75 not queued, try again later: cannot read [^\n]*\n$/);
    assert.ok(line.includes(`${FILE}: EACCES: permission denied`), line);
    assert.deepEqual(stored(road.spool), []);
  },
);

/**
 * Hands a message over as an account without privileges, where the defaults are root's and the
 * account's group's and have this mode; returns exit code and line.
 */
async function handOver(t: TestContext, mode: string, ...option: string[]) {
  const road = new Road(t);
  const { command, launcher, uid, gid } = account();
  chmodSync(road.folder, 0o711); // The account passes through it.
  chownSync(road.spool, uid, gid);
  const inside = await mounted(t, '/etc/default');
  const script = 'echo "$1" >"$0" && chgrp "$2" "$0" && chmod "$3" "$0"';
  const words = [FILE, `APPENGINE_MAILER_SPOOL=${road.spool}`, `${gid}`, mode];
  const made = await run(t, ...inside('/bin/sh', '-c', script, ...words));
  assert.equal(made.code, 0, made.stderr);

  const args = option.length > 0 ? [...option, road.spool] : [];
  const [file, rest] = command(launcher, '1abc', ...args);
  const { code, stdout } = await run(t, ...inside(file, ...rest), {
    input: bsmtp('', ['one@x.example'], 'Subject: test\n\ntest\n'),
  });
  return { road, line: `${code} ${stdout.toString()}` };
}
