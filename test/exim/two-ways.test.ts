import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { DebianExim, SOCKET } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';

const ROUTER = '/etc/exim4/conf.d/router/190_appengine-mailer';
const TRANSPORT = '/etc/exim4/conf.d/transport/30_appengine-mailer';
const BY_LMTP = / => .* T=appengine_mailer_lmtp .*C="250 2\.0\.0 queued ([0-9a-f]{32})"/;

for (const split of [true, false]) {
  test(
    `${split ? 'split' : 'unsplit'}: where the LMTP server is, Exim hands over by it, and by exim-pipe where it is not; disable leaves nothing`,
    needs('root', 'exim4'),
    async (t) => {
      const exim = await DebianExim.make(t, { split });
      const before = await exim.configuration();
      const intake = await exim.intake();
      await exim.switch('enable');
      const status = await exim.switch('status');
      assert.match(status, /^enabled: Exim hands mail .* by LMTP \(\/run\/.*intake\.sock\)\n/);
      assert.match(status, /^ok {4}intake: the LMTP server answers on .*\nok {4}pipe: /m);

      await exim.send('me@host.example', ['you@remote.example', 'root@other.example']);
      await intake.stop();
      assert.equal(exim.read(SOCKET), undefined, 'a server that ends takes its socket away');
      assert.match(await exim.switch('status'), /by exim-pipe\n.*there is no socket/);
      await exim.send('me@host.example', ['you@remote.example', 'root@other.example']);

      const log = exim.mainlog().join('\n');
      const messages = exim.spooled();
      assert.equal(messages.length, 2, 'one message for both recipients, each time');
      // Exim's log has the id of ours in both ways.
      assert.equal(BY_LMTP.exec(log)?.[1], messages[0]?.id, log);
      assert.match(
        log,
        new RegExp(`appengine_mailer_pipe transport output: queued ${messages[1]?.id}`),
      );
      const [lmtp, pipe] = messages.map(({ eximId, bytes, recipients, sender }) => ({
        sender,
        recipients: recipients.map(({ address }) => address).toSorted(),
        text: (bytes?.toString() ?? '')
          .replaceAll(eximId, 'ID')
          .replaceAll(/; .*$|^\t\w{3}, .*$|^Date: .*$/gm, 'TIME'),
      }));
      assert.deepEqual(lmtp, pipe);

      await exim.switch('disable');
      assert.equal(await exim.configuration(), before);
    },
  );
}

test(
  'law 7: while the LMTP server is killed, hangs up and comes back, mail waits, nothing bounces, and each message is stored once',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t, { split: true });
    await exim.switch('enable');
    const killed = await exim.intake();
    await exim.send('me@host.example', ['one@remote.example']);
    await killed.stop('SIGKILL');
    assert.ok(existsSync(exim.path(SOCKET)), 'its socket is still there');
    await exim.send('me@host.example', ['two@remote.example']);
    assert.match(exim.mainlog().join('\n'), / == two@.* T=appengine_mailer_lmtp defer .*refused/);
    const status = await exim.switch('status');
    assert.match(status, /by LMTP/);
    assert.match(
      status,
      /^FAULT intake: no LMTP server answers .*ECONNREFUSED.*To do: run appeng/m,
    );

    const back = await exim.intake();
    await exim.succeeds('exim4', '-qf');
    await back.stop();
    await exim.send('me@host.example', ['three@remote.example']);
    assert.equal(await exim.queued(), 0);
    assert.deepEqual(
      exim.spooled().flatMap(({ recipients }) => recipients.map(({ address }) => address)),
      ['one@remote.example', 'two@remote.example', 'three@remote.example'],
    );
    assert.doesNotMatch(exim.mainlog().join('\n'), / \*\* /);
  },
);

test(
  'an upgrade from the files that knew exim-pipe alone: enable, as the package runs it, brings LMTP',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t);
    const before = await exim.configuration();
    await exim.switch('enable');
    const enabled = await exim.configuration();
    for (const file of [ROUTER, TRANSPORT]) {
      exim.write(file, asOfOldVersion(exim.read(file) ?? ''));
    }
    await exim.succeeds('update-exim4.conf');
    await exim.intake();
    assert.match(await exim.switch('status'), /by exim-pipe; its files are of another version/);

    await exim.switch('enable', '--without-dkim');
    assert.equal(await exim.configuration(), enabled);
    await exim.send('me@host.example', ['you@remote.example']);
    assert.match(exim.mainlog().join('\n'), BY_LMTP);
    await exim.switch('disable');
    assert.equal(await exim.configuration(), before);
  },
);

/** What a router or transport of ours said before there was an LMTP server. */
function asOfOldVersion(text: string): string {
  return text
    .replace(/^appengine_mailer_lmtp:[^]*?(?=^appengine_mailer_pipe:)/m, '')
    .replaceAll('transport = APPENGINE_MAILER_TRANSPORT', 'transport = appengine_mailer_pipe');
}
