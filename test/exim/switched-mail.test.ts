import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { test } from 'node:test';
import { clock } from '../support/clock.ts';
import { DebianExim } from '../support/debian-exim.ts';
import { needs } from '../support/needs.ts';

test(
  'satellite with hide_mailname: senders are rewritten as Exim does for its smarthost, local mail goes to the hub',
  needs('root', 'exim4'),
  async (t) => {
    const settings = "dc_readhost='hub.example'\ndc_hide_mailname='true'";
    const exim = await DebianExim.make(t, { type: 'satellite', settings });
    const before = await exim.configuration();
    await exim.switch('enable');
    await exim.send(
      'daemon@host.example',
      ['you@remote.example', 'bin@host.example'],
      'From: daemon@host.example\nSubject: test\n\ntest\n',
    );
    const messages = exim.spooled();
    const text = JSON.stringify(messages.map((message) => ({ ...message, bytes: undefined })));
    const recipients = messages.flatMap((message) =>
      message.recipients.map((each) => each.address),
    );
    assert.deepEqual(recipients.toSorted(), ['bin@hub.example', 'you@remote.example'], text);
    for (const { sender, bytes } of messages) {
      assert.equal(sender, 'daemon@hub.example');
      assert.match(bytes?.toString() ?? '', /^From: daemon@hub\.example$/m);
    }
    const unknown = await exim.run('exim4', '-bt', 'nobody-of-that-name@host.example');
    assert.match(unknown.stdout.toString(), /Unrouteable|undeliverable/);
    await exim.switch('disable');
    assert.equal(await exim.configuration(), before);
  },
);

test(
  'the eleventh message of an SMTP connection and what follows does not wait for a queue run',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t, { split: true });
    await exim.switch('enable');
    const mail =
      'MAIL FROM:<me@host.example>\r\nRCPT TO:<you@remote.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n';
    const input = `EHLO host.example\r\n${mail.repeat(12)}QUIT\r\n`;
    const { stdout } = await exim.start('exim4', ['-odi', '-bs'], { input }).ended;
    assert.equal(stdout.toString().match(/^250 OK id=/gm)?.length, 12);
    assert.equal(exim.spooled().length, 12);
    assert.doesNotMatch(exim.mainlog().join('\n'), /no immediate delivery/);
  },
);

for (const [way, putOff] of [
  ['exim-pipe', /== you@remote\.example .*returned 75/],
  ['LMTP', /== you@remote\.example .*T=appengine_mailer_lmtp .*451 4\.3\.0 .*EACCES/],
] as const) {
  test(
    `law 5, by ${way}: days of a broken spool bounce nothing; what is not handed to the queue bounces as before`,
    needs('root', 'exim4', 'faketime'),
    async (t) => {
      const exim = await DebianExim.make(t, { split: true });
      await exim.switch('enable');
      if (way === 'LMTP') await exim.intake();
      chmodSync(exim.spool, 0); // exim-pipe answers 75, and the LMTP server 451.
      exim.write('/var/mail/bin', ''); // Not the recipient's, so that Exim puts off its mail itself.
      await exim.send('me@remote.example', ['you@remote.example', 'bin@host.example']);
      assert.match(exim.mainlog().join('\n'), putOff);

      for (const days of [1, 3, 5, 8, 14, 29]) {
        await exim.start('env', ['exim4', '-q'], { env: clock(`+${days}d`), input: '' }).ended;
      }
      const failed = exim.mainlog().filter((line) => line.includes(' ** '));
      assert.equal(failed.length, 1, failed.join('\n'));
      assert.match(failed[0] ?? '', / \*\* bin@host\.example: retry timeout exceeded/);

      chmodSync(exim.spool, 0o2770);
      await exim.succeeds('exim4', '-qf');
      const handed = exim.spooled().find(({ sender }) => sender !== '');
      assert.deepEqual(handed?.recipients, [{ address: 'you@remote.example', state: 'pending' }]);
    },
  );
}

test(
  'the retry rules of hosts, of local mail, and of mail for hubbed hosts are those of before',
  needs('root', 'exim4'),
  async (t) => {
    const exim = await DebianExim.make(t, { split: true });
    exim.write('/etc/exim4/hubbed_hosts', 'hubbed.example: relay.example\n');
    const rules = async () => {
      const found: string[] = [];
      for (const key of ['bin@host.example', 'remote.example', 'you@hubbed.example']) {
        found.push(await exim.succeeds('exim4', '-brt', key));
      }
      found.push(await exim.succeeds('exim4', '-brt', 'relay.example', 'remote.example'));
      return found;
    };
    const before = await rules();
    await exim.switch('enable');
    assert.match(await exim.succeeds('exim4', '-brt', 'you@remote.example'), /F,4w2d,15m/);
    assert.deepEqual(await rules(), before);
    exim.remove('/usr/lib/appengine-mailer/exim-pipe'); // The smarthost takes the mail again.
    assert.equal(await exim.succeeds('exim4', '-brt', 'you@remote.example'), before[1]);
  },
);
