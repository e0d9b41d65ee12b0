import assert from 'node:assert/strict';
import { chmodSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Intake } from '../support/lmtp.ts';
import { inNamespace, type Inside } from '../support/mounted.ts';
import { needs, OPENSMTPD } from '../support/needs.ts';
import { inCheckout, run, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';
import { until } from '../support/until.ts';

/** What an installation makes: accounts, folders, and programs in their places. */
const INSTALL = `
  cp /etc/passwd /etc/group "$2"
  for name in opensmtpd:61001 opensmtpq:61002; do
    echo "\${name%:*}:x:\${name#*:}:\${name#*:}::/var/lib/opensmtpd/empty:/usr/sbin/nologin" >>"$2/passwd"
    echo "\${name%:*}:x:\${name#*:}:" >>"$2/group"
  done
  for file in passwd group; do mount --bind "$2/$file" /etc/$file; done
  mkdir -p /usr/libexec
  for folder in /run /var/spool /var/lib /usr/libexec; do mount -t tmpfs tmpfs $folder; done
  mkdir -m 711 /var/spool/smtpd
  mkdir -p -m 755 /var/lib/opensmtpd/empty
  ln -s "$1/usr/libexec/opensmtpd" /usr/libexec/opensmtpd
  true`;

const SMTPCTL = `${OPENSMTPD}/usr/sbin/smtpctl`;

/** The lines for smtpd.conf that the manual shows, with a socket of the test's own. */
function linesOfManual(socket: string): string {
  const page = readFileSync(inCheckout('debian/man/appengine-mailer-postfix.7'), 'utf8');
  const [, lines = ''] = /^\.Pa \/etc\/smtpd\.conf\n[^]*?^\.Bd .*\n([^]*?)^\.Ed$/m.exec(page) ?? [];
  assert.match(lines, /^action "appengine" /m);
  return lines.replace('/run/appengine-mailer/intake.sock', socket);
}

/** An OpenSMTPD of the test's own; `control` runs its programs beside it. */
async function openSmtpd(t: TestContext, folder: string, socket: string) {
  const inside: Inside = await inNamespace(t, `(set -e; ${INSTALL})`, OPENSMTPD, folder);
  const config = join(folder, 'smtpd.conf');
  writeFileSync(config, linesOfManual(socket));
  const smtpd: Program = start(t, ...inside(`${OPENSMTPD}/usr/sbin/smtpd`, '-dvf', config));
  await smtpd.says(/smtpd: setup done|pony express done/);
  const control = async (words: string[], input = '') => {
    // Installed, it is set-group-ID opensmtpq.
    const ended = await run(t, ...inside('setpriv', '--egid', '61002', '--keep-groups', ...words), {
      input,
    });
    assert.equal(ended.code, 0, ended.stderr);
  };
  return { smtpd, control };
}

test(
  'OpenSMTPD, set up as the manual says, hands over a message for each recipient, and again after an outage',
  needs('root', 'opensmtpd'),
  async (t) => {
    const road = new Road(t);
    chmodSync(road.folder, 0o711); // The account mail passes through it.
    const body = '.\n..\nhello\n.x\n'; // Its sendmail encodes 8-bit and long lines.
    const message = `Subject: x\n\n${body}`;
    const first = await Intake.start(t, { folder: road.folder });
    await first.take({ eximId: 'before', message }); // From now on the spool can be read.
    const { smtpd, control } = await openSmtpd(t, road.folder, first.socket);
    symlinkSync(SMTPCTL, join(road.folder, 'sendmail')); // It is what it is called as.
    const send = async (...to: string[]) =>
      control([join(road.folder, 'sendmail'), '-i', '-f', 'a@example.org', ...to], message);
    const arrived = async (count: number) =>
      until(
        () => stored(road.spool).length === count,
        () => smtpd.stderr,
      );
    await send('you@remote.example', 'Two+x@other.example');
    await arrived(3);
    await first.program.stop();
    await send('three@other.example');
    await smtpd.says(/to=<three@other\.example> .*result=TempFail/);
    await Intake.start(t, { folder: road.folder });
    await control([SMTPCTL, 'schedule', 'all']);
    await arrived(4);

    const found = stored(road.spool);
    assert.deepEqual(found.map(({ recipients }) => recipients.join()).toSorted(), [
      'Two+x@other.example',
      'r@example.org',
      'three@other.example',
      'you@remote.example',
    ]);
    for (const { bytes } of found) assert.ok(bytes.toString().endsWith(`\n\n${body}`));
    assert.doesNotMatch(smtpd.stderr, /result=PermFail/);
  },
);
