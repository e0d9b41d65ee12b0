import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtPackages, higherVersion, standInPostfix } from '../support/debian-packages.ts';
import { DELIVERED, INSTALL, installedMachine } from '../support/installed-machine.ts';
import type { Machine } from '../support/machine.ts';
import { MailStream } from '../support/mail-stream.ts';
import { needs } from '../support/needs.ts';
import { scratch } from '../support/scratch.ts';

const SERVICE = 'appengine-mailer-intake.service';
const SOCKET = 'appengine-mailer-intake.socket';
const PATH = '/run/appengine-mailer/intake.sock';
const LOG = '/var/log/exim4/mainlog';
const SNIPPETS = '/etc/exim4/conf.d';
const SEND = 'sendmail -odi -f alice@example.org you@remote.example';
const MAIL = { input: 'From: alice@example.org\nSubject: intake\n\nx\n' };

/** How many messages Exim has handed over by LMTP, by exim-pipe, and put off. */
async function handOvers(machine: Machine) {
  const count = async (pattern: string) =>
    Number((await machine.try(`grep -c -- '${pattern}' ${LOG}`)).output);
  return {
    lmtp: await count('[-=]> .*T=appengine_mailer_lmtp .*C="250 2.0.0 queued'),
    pipe: await count('[-=]> .*T=appengine_mailer_pipe'),
    deferred: await count(' == '),
  };
}

void test(
  'law 7: an upgrade, restarts and stops of the LMTP server under load put off no message, and SIGKILL loses none',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    assert.equal(
      await machine.sh(`stat -c '%U %G %a' ${PATH}`),
      'appengine-mailer Debian-exim 660\n',
    );
    assert.equal(
      await machine.sh(`systemctl is-active ${SOCKET}; systemctl is-enabled ${SOCKET}`),
      'active\nenabled\n',
    );
    // Nothing runs until the first connection.
    assert.equal(await machine.sh(`systemctl show -P ActiveState ${SERVICE}`), 'inactive\n');
    const stream = new MailStream(machine);
    await stream.start();
    await stream.more(5);
    const since = await machine.sh(`systemctl show -P ActiveEnterTimestampMonotonic ${SOCKET}`);
    const running = () => machine.sh(`systemctl show -P MainPID ${SERVICE}`);
    const before = await running();
    await machine.sh(`${INSTALL} ${machine.put(higherVersion(builtPackages().host, scratch(t)))}`);
    assert.notEqual(await running(), before, 'the new version runs');
    assert.equal(
      await machine.sh(`systemctl show -P ActiveEnterTimestampMonotonic ${SOCKET}`),
      since,
    );
    for (const verb of ['restart', 'stop', 'restart', 'stop']) {
      await stream.more(3);
      await machine.sh(`systemctl ${verb} ${SERVICE}`);
    }
    await machine.sh('systemctl restart appengine-mailer');
    await stream.more(3);
    const { lmtp, pipe, deferred } = await handOvers(machine);
    assert.ok(lmtp >= 20, `${lmtp}`);
    assert.deepEqual({ pipe, deferred }, { pipe: 0, deferred: 0 });

    for (let times = 0; times < 3; times += 1) {
      await machine.sh(`systemctl kill -s KILL ${SERVICE} || true`);
      await stream.more(3);
    }
    await stream.stop();
    t.diagnostic(`${await stream.account()} messages`);
    assert.equal(await machine.sh(`systemctl is-active ${SOCKET}`), 'active\n');

    // An administrator can do without: Exim then uses exim-pipe.
    await machine.sh(`systemctl stop ${SOCKET}; ! test -e ${PATH}; ${SEND}`, MAIL);
    assert.equal((await handOvers(machine)).pipe, 1);
    assert.match(
      (await machine.try('appengine-mailer check')).output,
      /^NOTE {2}intake: there is no socket .*, so Exim uses exim-pipe/m,
    );
    await machine.sh('apt-get -qq -y purge appengine-mailer');
    assert.equal((await machine.try('ls -d /run/appengine-mailer')).code, 2);
    assert.equal((await machine.try(`systemctl cat ${SOCKET}`)).code, 1);
  },
);

void test(
  'a host that had exim-pipe alone gets the LMTP server by the upgrade, and one whose Exim was switched back keeps that',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const original = machine.put(builtPackages().host);
    const higher = machine.put(higherVersion(builtPackages().host, scratch(t)), 'higher.deb');
    // As the package was before.
    await machine.sh(
      `systemctl disable --now ${SOCKET}; rm /usr/lib/systemd/system/appengine-mailer-intake.*;
       find /var/lib/systemd -name '${SOCKET}*' -delete; systemctl daemon-reload;
       sed -i 's/= APPENGINE_MAILER_TRANSPORT/= appengine_mailer_pipe/' ${SNIPPETS}/router/190_appengine-mailer;
       sed -i '/^appengine_mailer_lmtp:/,/^appengine_mailer_pipe:/{/^appengine_mailer_pipe:/!d}' ${SNIPPETS}/transport/30_appengine-mailer;
       update-exim4.conf; ${SEND}`,
      MAIL,
    );
    assert.deepEqual(await handOvers(machine), { lmtp: 0, pipe: 1, deferred: 0 });
    await machine.sh(`${INSTALL} ${higher}`);
    assert.equal(
      await machine.sh(`systemctl is-active ${SOCKET}; systemctl is-enabled ${SOCKET}`),
      'active\nenabled\n',
    );
    await machine.sh(SEND, MAIL);
    assert.deepEqual(await handOvers(machine), { lmtp: 1, pipe: 1, deferred: 0 });
    await machine.reboot();
    await machine.sh(SEND, MAIL);
    assert.deepEqual(await handOvers(machine), { lmtp: 2, pipe: 1, deferred: 0 });

    await machine.sh('appengine-mailer exim disable');
    await machine.sh(`${INSTALL} ${original}`);
    assert.equal((await machine.try('appengine-mailer exim status')).code, 1);
  },
);

void test(
  'where Postfix takes the place of Exim, the socket becomes its, and nobody speaks of Exim any more',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    await machine.sh(SEND, MAIL);
    await machine.sh('appengine-mailer exim disable');
    await machine.sh(`${INSTALL} ${machine.put(standInPostfix(scratch(t)))}`);
    assert.equal(await machine.sh(`stat -c '%U %G %a' ${PATH}`), 'appengine-mailer postfix 660\n');
    const found = (await machine.try('appengine-mailer check')).output;
    assert.match(
      found,
      /^FAULT postfix: default_transport of Postfix is smtp, .*appengine-mailer-postfix\(7\)/m,
    );
    assert.match(found, /^ok {4}intake: the LMTP server answers/m);
    assert.doesNotMatch(found, /exim:|Exim is not/);
    const said = await machine.try('dpkg-reconfigure -fnoninteractive appengine-mailer 2>&1');
    assert.match(said.output, /man appengine-mailer-postfix/);
    assert.doesNotMatch(said.output, /exim/i);

    await machine.sh(`echo appengine:unix:${PATH} >/etc/postfix/default_transport`);
    assert.match((await machine.try('appengine-mailer check')).output, /^ok {4}postfix: /m);
    // What the account of Postfix hands over arrives.
    const client = `require('net').connect('${PATH}').on('data', (data) => process.stdout.write(data)).end(require('fs').readFileSync(0))`;
    machine.write('/usr/local/lib/lmtp.js', client);
    const postfix = 'setpriv --reuid=postfix --regid=postfix --clear-groups';
    const answers = await machine.sh(`${postfix} node /usr/local/lib/lmtp.js`, {
      input:
        'LHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<you@remote.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n',
    });
    assert.match(answers, /^250 2\.0\.0 queued /m);
    await machine.until(`test "$(ls ${DELIVERED} | grep -c 'eml$')" = 2`);
  },
);
