import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clock } from '../support/clock.ts';
import { DebianExim } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';

const MAIN = '/etc/exim4/conf.d/main/95_appengine-mailer';

test(
  'what an administrator has frozen stays frozen, also where an older version thawed it',
  needs('root', 'exim4', 'faketime'),
  async (t) => {
    const exim = await DebianExim.make(t, { split: true });
    await exim.switch('enable');
    // As a version before this one left it.
    exim.append(MAIN, 'auto_thaw = 15m\n');
    await exim.succeeds('update-exim4.conf');
    assert.match(await exim.switch('status'), /its files are of another version: say enable again/);
    await exim.switch('enable');
    assert.equal(await exim.succeeds('exim4', '-bP', 'auto_thaw'), 'auto_thaw = 0s\n');

    await exim.succeeds(
      'sh',
      '-c',
      "printf 'Subject: x\\n\\nx\\n' | sendmail -odq you@remote.example",
    );
    const [id = ''] = exim.mainlog().flatMap((line) => /^(\S+) <= /.exec(line)?.[1] ?? []);
    await exim.succeeds('exim4', '-Mf', id);
    for (const time of ['+1h', '+1d', '+5d']) {
      await exim.start('env', ['exim4', '-q'], { env: clock(time), input: '' }).ended;
    }
    assert.match(await exim.succeeds('exim4', '-bp'), / \*\*\* frozen \*\*\*/);
    assert.equal(await exim.queued(), 1);

    await exim.succeeds('exim4', '-Mt', id);
    await exim.succeeds('exim4', '-qf');
    assert.equal(exim.spooled().length, 1);
  },
);
