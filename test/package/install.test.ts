import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  ANSWERS,
  DELIVERED,
  installedMachine,
  SECRET,
  type Installation,
} from '../support/installed-machine.ts';
import { builtPackages } from '../support/debian-packages.ts';
import type { Machine } from '../support/machine.ts';
import { needs } from '../support/needs.ts';
import { inCheckout } from '../support/program.ts';

/** The minor version of its C library. */
const DEBIAN_12 = 36;

const UNITS = ['appengine-mailer', 'appengine-mailer-intake', 'appengine-mailer-proxy'];

const PASSWORD = 'the-password-at-the-relay';

const cases: (Installation & { title: string })[] = [
  { title: 'Debian 13, unsplit', split: false },
  { title: 'Debian 13, split', split: true },
  { title: 'Debian 12 with Node 20', release: 'bookworm' },
];

for (const { title, ...installation } of cases) {
  void test(
    `${title}: apt install makes Exim send through it, byte for byte (law 3)`,
    needs('machines'),
    async (t) => {
      if (installation.release === 'bookworm' && builtPackages().libc > DEBIAN_12) {
        return t.skip('the packages were built on a newer Debian than 12');
      }
      const machine = await installedMachine(t, installation);
      const body = Buffer.concat([
        Buffer.from('.\n..two dots\n\xff\xfe latin-1 \xe9\n', 'latin1'),
        Buffer.from(`${'long '.repeat(600)}\n\n\nlast line without more\n`),
      ]);
      const head = 'From: alice@example.org\nTo: you@remote.example\nSubject: bytes\n\n';
      await machine.sh('sendmail -oi -f alice@example.org you@remote.example', {
        input: Buffer.concat([Buffer.from(head), body]),
      });
      const [eml] = await delivered(machine, 1);
      const at = eml?.indexOf('\n\n') ?? 0;
      assert.deepEqual(eml?.subarray(at + 2), body);
      assert.match(eml?.subarray(0, at).toString('latin1') ?? '', /^Received: /);

      assert.match(
        await machine.sh('cat /var/log/exim4/mainlog'),
        / => .* T=appengine_mailer_lmtp C="250 2\.0\.0 queued [0-9a-f]{32}"/,
      );
      const { code, output } = await machine.try('appengine-mailer check');
      assert.equal(code, 0, output);
      assert.equal(await machine.sh('exim4 -bP auto_thaw'), 'auto_thaw = 0s\n');
      for (const unit of UNITS) {
        assert.match(await machine.sh(`systemctl show -P StatusText ${unit}`), /\w/);
        const security = await machine.sh(
          `systemd-analyze security --no-pager ${unit} | tail -n 2`,
        );
        const exposure = Number(/([\d.]+) (?:SAFE|OK|MEDIUM|UNSAFE)/.exec(security)?.[1]);
        assert.ok(exposure <= 1.2, security);
        // What the kernel says of the process, and not what the unit asks for.
        const pid = (await machine.sh(`systemctl show -P MainPID ${unit}`)).trim();
        const process = await machine.sh(`cat /proc/${pid}/status /proc/${pid}/limits`);
        assert.doesNotMatch(process, /^[UG]id:.*\t0\b/m);
        for (const said of [
          /^CapEff:\s+0+$/m,
          /^NoNewPrivs:\s+1$/m,
          /^Seccomp:\s+2$/m,
          /^Max core file size\s+0\s+0/m,
        ]) {
          assert.match(process, said);
        }
      }

      await machine.sh('apt-get -qq -y remove appengine-mailer appengine-mailer-proxy');
      assert.doesNotMatch(await machine.sh('exim4 -bt you@remote.example'), /appengine_mailer/);
    },
  );
}

void test(
  'the packages’ own test (autopkgtest) passes where they were installed without answers: they find each other',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t, { answers: '' });
    const ended = async (name: string) =>
      (await machine.try(`dpkg-reconfigure -fnoninteractive ${name} 2>&1`)).output;
    const host = await ended('appengine-mailer');
    for (const left of [/exim enable/, /mailer check/]) assert.match(host, left);
    assert.doesNotMatch(host, /dpkg-reconfigure/);
    const proxy = await ended('appengine-mailer-proxy');
    for (const left of [/proxy check/, /web server/]) assert.match(proxy, left);
    assert.doesNotMatch(proxy, /dpkg-reconfigure/);
    for (const unit of ['appengine-mailer', 'appengine-mailer-proxy']) {
      // dpkg-reconfigure does not wait for a service that is restarted with its socket.
      await machine.until(`systemctl is-active --quiet ${unit}`);
    }
    await machine.sh(`sh ${machine.put(inCheckout('debian/tests/delivers'))}`);
  },
);

void test(
  'a relay that was named at the installation is used, and its settings stand back for another backend',
  needs('machines'),
  async (t) => {
    const name = 'appengine-mailer-proxy';
    const answers = `${ANSWERS}
      ${name} ${name}/backend select smtp
      ${name} ${name}/smtp-host string 127.0.0.9
      ${name} ${name}/smtp-user string me
      ${name} ${name}/smtp-password password ${PASSWORD}\n`.replace(/^ +/gm, '');
    const machine = await installedMachine(t, { answers });
    const password = '/etc/envdir/APPENGINE_SMTP_PASSWORD';
    assert.equal(await machine.sh(`stat -c '%U %a' ${password}`), 'root 600\n');
    assert.equal(await machine.sh(`cat ${password}`), `${PASSWORD}\n`);
    assert.match(
      await machine.sh(`systemctl show -P StatusText ${name}`),
      /relay 127\.0\.0\.9:587/,
    );
    assert.match((await machine.try(`${name} check`)).output, /FAULT +connection: .*127\.0\.0\.9/);

    // Somebody answers the question anew.
    await machine.sh(`cat >/usr/local/bin/types; chmod 755 /usr/local/bin/types`, {
      input: `#!/bin/sh\nsed -i 's|/backend=.*|/backend="file"|' "$1"\n`,
    });
    const asked = `VISUAL=/usr/local/bin/types dpkg-reconfigure -feditor ${name}`;
    await machine.sh(`script -qec '${asked}' /dev/null`);
    await machine.sh(`systemctl restart ${name}`);
    const settings = await machine.sh(`cat /etc/default/${name}`);
    assert.match(settings, /^# APPENGINE_MAILER_SMTP_HOST=127\.0\.0\.9$/m);
    assert.equal(await machine.sh(`systemctl is-active ${name}`), 'active\n');
  },
);

void test('the secret stays in root’s files only (law 10)', needs('machines'), async (t) => {
  const machine = await installedMachine(t);
  await machine.sh('sendmail you@remote.example', { input: 'Subject: x\n\nx\n' });
  await delivered(machine, 1);
  const places = '/etc /var /run /tmp /usr/lib/appengine-mailer* /usr/share/appengine-mailer*';
  const found = await machine.try(
    `grep -rlF ${SECRET} ${places} 2>/dev/null | grep -v ^/run/credentials`,
  );
  assert.deepEqual(found.output.trim().split('\n').toSorted(), [
    '/etc/envdir/GMAIL_SECRET_KEY',
    '/etc/envdir/GMAIL_SECRET_KEYS',
    '/run/appengine-mailer-proxy/keys', // What a reload replaces; in memory, and the proxy's alone.
  ]);
  const folder = await machine.sh(`stat -c '%U %a' /run/appengine-mailer-proxy`);
  assert.equal(folder, 'appengine-mailer 700\n');
  const modes = await machine.sh(`stat -c '%U %a' /etc/envdir/GMAIL_SECRET_KEY*`);
  assert.equal(modes, 'root 600\nroot 600\n');
  const processes = await machine.sh(
    "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
  );
  assert.ok(!processes.includes(SECRET), 'in no argument list or environment');
  assert.ok(!(await machine.sh('journalctl --no-pager')).includes(SECRET), 'not in the journal');
});

/** Waits for so many messages in the proxy's folder and returns their bytes. */
async function delivered(machine: Machine, messages: number): Promise<Buffer[]> {
  await machine.until(`test "$(ls ${DELIVERED} | grep -c 'eml$')" -ge ${messages}`);
  return readdirSync(join(machine.root, DELIVERED))
    .filter((name) => name.endsWith('.eml'))
    .map((name) => machine.read(join(DELIVERED, name)));
}
