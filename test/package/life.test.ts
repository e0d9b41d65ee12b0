import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtPackages, higherVersion, nodePackage } from '../support/debian-packages.ts';
import { ANSWERS, INSTALL, installedMachine } from '../support/installed-machine.ts';
import { MailStream } from '../support/mail-stream.ts';
import { needs } from '../support/needs.ts';
import { scratch } from '../support/scratch.ts';
import { superJournal } from '../support/super-journal.ts';

// Each is done to a machine under five messages a second; at the end no message is lost, doubled or
// bounced. While the package is away, mail waits in Exim's queue for a smarthost that nobody answers at.
const APT = 'DEBIAN_FRONTEND=noninteractive apt-get -qq -y';

// OpenSMTPD's way in while its daemon is away broke three times in packaging.
void test(
  'upgrade, reconfigure, remove, reinstall, purge, forced removal: no mail lost, doubled or bounced',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const { host } = builtPackages();
    const higher = machine.put(higherVersion(host, scratch(t)), 'higher.deb');
    const original = machine.put(host);
    const stream = new MailStream(machine);
    await stream.start();
    await stream.more(5);

    const before = await machine.sh('systemctl show -P MainPID appengine-mailer');
    const snippet = '/etc/exim4/conf.d/router/190_appengine-mailer';
    await machine.sh(`echo '# of an older version' >>${snippet}`);
    await machine.sh(`${INSTALL} ${higher}`);
    await machine.sh(`cmp ${snippet} /usr/share/appengine-mailer/exim4/router`);
    assert.notEqual(await machine.sh('systemctl show -P MainPID appengine-mailer'), before);
    assert.match(await machine.sh('appengine-mailer exim status'), /enabled/);
    await stream.more(5);

    await machine.sh('DEBIAN_FRONTEND=noninteractive dpkg-reconfigure appengine-mailer');
    await stream.more(5);

    await machine.sh(`${APT} remove appengine-mailer`);
    assert.equal((await machine.try('ls /etc/exim4/conf.d/router/190_appengine-mailer')).code, 2);
    await stream.more(5);
    await machine.sh(`${INSTALL} ${original}`);
    await machine.sh('appengine-mailer exim status');
    await stream.more(5);

    await machine.sh(`${APT} purge appengine-mailer`);
    await stream.more(5);
    await machine.sh('debconf-set-selections', { input: ANSWERS });
    await machine.sh(`${INSTALL} ${original}`);
    await stream.more(5);

    await machine.sh(
      'rm /var/lib/dpkg/info/appengine-mailer.p*; dpkg --force-all --remove appengine-mailer',
    );
    await stream.more(5);
    await machine.sh('debconf-set-selections', { input: ANSWERS });
    await machine.sh(`${INSTALL} ${original}`);
    await machine.sh('appengine-mailer exim status');
    await stream.more(5);

    await stream.stop();
    t.diagnostic(`${await stream.account()} messages`);
  },
);

void test(
  'another Node: mail goes on; under one that has no native module it waits, and goes on when Node is back',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const [later, latest, unfit] = ['24', '26', '22.12.0'].map((version) =>
      machine.put(nodePackage(version, scratch(t))),
    );
    const stream = new MailStream(machine);
    await stream.start();
    await stream.more(5);
    for (const [version, deb] of [
      ['24', later],
      ['26', latest],
    ] as const) {
      await machine.sh(`${INSTALL} ${deb}`);
      assert.match(await machine.sh('node --version'), new RegExp(`^v${version}`));
      await machine.until('systemctl is-active appengine-mailer');
      await stream.more(5);
      const { output } = await machine.try('appengine-mailer check');
      assert.match(output, /^ok {4}pipe: /m);
    }

    // apt would remove appengine-mailer rather than install this one.
    await machine.sh(`dpkg --force-depends --force-downgrade -i ${unfit}`);
    assert.match(await machine.sh('node --version'), /^v22\.12/);
    // dpkg runs none of our scripts while a dependency is missing, so the LMTP server that runs goes on. Without it Exim uses exim-pipe.
    await stream.more(5);
    await machine.sh('systemctl stop appengine-mailer-intake.socket');
    await stream.more(10);
    const { code, output } = await machine.try('appengine-mailer check');
    assert.equal(code, 1);
    assert.match(output, /pipe: .*Node\.js v22\.12\.0 .*\n?.*22\.14 or later/);
    assert.match(
      await machine.sh('grep appengine_mailer_pipe /var/log/exim4/mainlog'),
      /defer.*\n/i,
    );
    await machine.sh(`dpkg -i ${latest}`);
    await machine.until('systemctl is-active appengine-mailer appengine-mailer-intake.socket');
    await stream.more(5);
    await stream.stop();
    t.diagnostic(`${await stream.account()} messages`);
  },
);

const ENVDIR = '/etc/envdir';

void test(
  'files win over what debconf remembers: edits stay, what was removed stays away, a new secret is private',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const higher = machine.put(higherVersion(builtPackages().host, scratch(t)), 'higher.deb');
    const url = 'https://edited.example/';
    await machine.sh(
      `echo ${url} >${ENVDIR}/GMAIL_PROXY_URL; echo edited >${ENVDIR}/GMAIL_SECRET_KEY`,
    );
    await machine.sh('DEBIAN_FRONTEND=noninteractive dpkg-reconfigure appengine-mailer');
    assert.equal(
      await machine.sh(`cat ${ENVDIR}/GMAIL_PROXY_URL ${ENVDIR}/GMAIL_SECRET_KEY`),
      `${url}\nedited\n`,
    );

    await machine.sh(`rm ${ENVDIR}/GMAIL_PROXY_URL`);
    await machine.sh(`${INSTALL} ${higher}`);
    assert.equal((await machine.try(`test -e ${ENVDIR}/GMAIL_PROXY_URL`)).code, 1);

    await machine.sh(`chmod 644 ${ENVDIR}/GMAIL_SECRET_KEY`);
    const types = `#!/bin/sh\nsed -i 's/secret-key=.*/secret-key="typed by somebody"/' "$1"\n`;
    machine.write('/usr/local/bin/types', types, 0o755);
    // script(1) makes the terminal that debconf wants.
    const ask =
      'DEBIAN_FRONTEND=editor VISUAL=types EDITOR=types dpkg-reconfigure appengine-mailer';
    await machine.sh(`script -qec '${ask}' /dev/null`);
    const key = `${ENVDIR}/GMAIL_SECRET_KEY`;
    assert.equal(await machine.sh(`stat -c %a ${key}; cat ${key}`), '600\ntyped by somebody\n');
  },
);

void test(
  'purge removes an empty spool, and keeps one with mail in it, also when it came after the look',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const original = machine.put(builtPackages().host);
    const spool = '/var/spool/appengine-mailer';
    await machine.sh(`${APT} remove appengine-mailer`);
    await machine.sh(`${APT} purge appengine-mailer`);
    assert.equal((await machine.try(`test -e ${spool}`)).code, 1);

    await machine.sh('debconf-set-selections', { input: ANSWERS });
    await machine.sh(`${INSTALL} ${original}`);
    await machine.sh(`${APT} remove appengine-mailer`);
    await machine.until(`touch ${spool}/spool.db; test ${spool}/spool.db -nt ${LOOK}`);
    await machine.sh(`${APT} purge appengine-mailer`);
    await machine.sh(`test -e ${spool}/spool.db`);

    await machine.sh('debconf-set-selections', { input: ANSWERS });
    await machine.sh(`${INSTALL} ${original}; systemctl stop appengine-mailer-proxy.socket`);
    await machine.sh('sendmail you@remote.example', { input: 'Subject: kept\n\nx\n' });
    await machine.until('appengine-mailer queue --json | grep -q queued');
    const said = await machine.sh(`${APT} purge appengine-mailer`);
    assert.match(said, /mail stays in the queue, and nothing sends it now: accepted \d+, queued 1/);
    await machine.sh(`test -e ${spool}/spool.db`);
  },
);

void test(
  'law 14: installing again, removing and purging remove no file of root’s that a journal beside the spool names',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const { host } = builtPackages();
    const original = machine.put(host);
    const spool = '/var/spool/appengine-mailer';
    const steps = [
      `${INSTALL} --reinstall ${original}`,
      `${APT} remove appengine-mailer`,
      `${APT} purge appengine-mailer appengine-mailer-proxy`,
    ];
    await machine.sh('touch /etc/victim; chmod 600 /etc/victim');
    for (const step of steps) {
      await machine.sh('systemctl stop appengine-mailer || true');
      const journal = superJournal(machine.read(`${spool}/spool.db`), '/etc/victim');
      await machine.sh(`${MEMBER} sh -c 'umask 0; cat >${spool}/spool.db-journal'`, {
        input: journal,
      });
      await machine.try(step);
      await machine.sh('test -e /etc/victim');
    }
  },
);

/** Somebody in the group, who has no other right. */
const MEMBER = 'setpriv --reuid=12345 --regid=appengine-mailer --clear-groups';

/** What prerm leaves when it found the spool empty. */
const LOOK = '/var/lib/appengine-mailer/spool-is-empty';
