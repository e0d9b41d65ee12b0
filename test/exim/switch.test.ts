import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { test } from 'node:test';
import { DebianExim } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';

const CONF = '/etc/exim4/update-exim4.conf.conf';
const TEMPLATE = /exim4\.conf\.template is no longer read/;

for (const split of [true, false]) {
  test(
    `enable and disable, ${split ? 'split' : 'unsplit'}: mail goes to the spool, and then Exim is as before, to the byte`,
    needs('root', 'exim4'),
    async (t) => {
      const exim = await DebianExim.make(t, { split });
      const [before, generated] = [await exim.configuration(), exim.generated];
      assert.deepEqual(await exim.appengineMailer(['exim', 'status']), NOT_ENABLED);

      const said = await exim.switch('enable');
      assert.equal(TEMPLATE.test(said), !split, said);
      assert.match(await exim.switch('status'), /^enabled: [^;]*\n$/);
      await exim.send('me@host.example', ['you@remote.example', 'root@remote.example']);
      assert.equal(await exim.queued(), 0);
      const [message] = exim.spooled();
      assert.equal(message?.sender, 'me@host.example');
      assert.deepEqual(message.recipients.map(({ address }) => address).toSorted(), [
        'root@remote.example',
        'you@remote.example',
      ]);

      const enabled = await exim.configuration();
      assert.equal(await exim.switch('enable'), said);
      assert.equal(await exim.configuration(), enabled, 'enabled twice is enabled');

      await exim.switch('disable');
      assert.equal(exim.generated, generated);
      assert.equal(await exim.configuration(), before);
      assert.deepEqual(await exim.appengineMailer(['exim', 'status']), NOT_ENABLED);
      await exim.switch('disable');
      assert.equal(await exim.configuration(), before);
    },
  );
}

const NOT_ENABLED = {
  code: 1,
  said: 'appengine-mailer: not enabled: Exim does not hand its mail to the queue\n',
};

test(
  'unsplit: exim4.conf.localmacros goes on to be read, and any way to say unsplit comes back',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t);
    const settings = exim.read(CONF) ?? '';
    const line = "dc_use_split_config='false'\n";
    for (const other of ['', '  dc_use_split_config="False" # as I like it\n', `${line}${line}`]) {
      exim.write(CONF, settings.replace(line, other));
      exim.write('/etc/exim4/exim4.conf.localmacros', 'REMOTE_SMTP_HELO_DATA = mine.example\n');
      await exim.succeeds('update-exim4.conf');
      const before = await exim.configuration();
      await exim.switch('enable');
      const macro = await exim.succeeds('exim4', '-bP', 'macro', 'REMOTE_SMTP_HELO_DATA');
      assert.match(macro, /=mine\.example\n/);
      await exim.switch('disable');
      assert.equal(await exim.configuration(), before);
    }
  },
);

test(
  'disable undoes what is left of it, whichever half is missing; enable completes it',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t);
    const before = await exim.configuration();
    await exim.switch('enable');
    const enabled = await exim.configuration();
    const files = (await exim.succeeds('find', '/etc/exim4', '-name', '*appengine-mailer')).trim();
    assert.equal(files.split('\n').length, 5);
    for (const half of [/main|retry/, /router|transport/]) {
      for (const file of files.split('\n').filter((each) => half.test(each))) exim.remove(file);
      if (half.test('router')) await exim.succeeds('update-exim4.conf');
      await exim.switch('disable');
      assert.equal(await exim.configuration(), before);
      await exim.switch('enable');
      assert.equal(await exim.configuration(), enabled);
    }
    exim.remove('/etc/exim4/conf.d/router/190_appengine-mailer');
    await exim.succeeds('update-exim4.conf');
    const { code, said } = await exim.appengineMailer(['exim', 'status']);
    assert.equal(code, 1);
    assert.match(said, /files of it are there: say enable or disable again/);
    await exim.switch('enable');
    assert.equal(await exim.configuration(), enabled);
  },
);

test(
  'disable says which changes in conf.d are in force no more when the template is read again',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t);
    const { generated } = exim;
    await exim.switch('enable');
    exim.write('/etc/exim4/conf.d/main/80_mine', 'message_size_limit = 7M\n');
    const said = await exim.switch('disable');
    assert.match(said, /^\+message_size_limit = 7M$/m);
    assert.match(said, /exim4\.conf\.template is read again: the above is no longer in force/);
    assert.equal(exim.generated, generated);
  },
);

test(
  'status tells when the files are of another version, and works without root',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t, { split: true });
    await exim.switch('enable');
    exim.append('/etc/exim4/conf.d/retry/20_appengine-mailer', '# older\n');
    assert.match(await exim.switch('status'), /^enabled: .*another version: say enable again/);
    const operator = ['setpriv', '--reuid=1', '--regid=1', '--clear-groups', '--'];
    const { code, said } = await exim.appengineMailer(['exim', 'status'], {}, operator);
    assert.equal(code, 0, said);
    await exim.switch('enable');
    assert.match(await exim.switch('status'), /^enabled: [^;]*\n$/);
  },
);

test(
  'Exim is told to read its configuration again; a daemon that cannot be told is named, and no failure',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t, { split: true });
    const invoke = (end: string) =>
      exim.write('/usr/sbin/invoke-rc.d', `#!/bin/sh\necho "$@" >>/told\n${end}\n`);
    invoke('exit 0');
    chmodSync(exim.path('/usr/sbin/invoke-rc.d'), 0o755);
    assert.doesNotMatch(await exim.switch('enable'), /not told/);
    invoke('echo no way >&2; exit 1');
    assert.match(
      await exim.switch('disable'),
      /^Exim's daemon, if one runs, was not told: no way\./m,
    );
    assert.equal(exim.read('/told'), 'exim4 reload\nexim4 reload\n');
  },
);
