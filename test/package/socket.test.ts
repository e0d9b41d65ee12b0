import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtPackages, higherVersion } from '../support/debian-packages.ts';
import { DELIVERED, INSTALL, installedMachine } from '../support/installed-machine.ts';
import type { Machine } from '../support/machine.ts';
import { needs } from '../support/needs.ts';
import { scratch } from '../support/scratch.ts';

const SOCKET = 'appengine-mailer-proxy.socket';
const DEFAULTS = '/etc/default/appengine-mailer-proxy';
const SEND = 'sendmail -f alice@example.org you@remote.example';
const MAIL = { input: 'From: alice@example.org\nSubject: socket\n\nx\n' };

/** What another user of the machine meets who wants a port of loopback: EADDRINUSE, or `taken`. */
async function take(machine: Machine, port: number): Promise<string> {
  const script = `const s = require("net").createServer();
    s.on("error", (e) => console.log(e.code));
    s.listen(${port}, "127.0.0.1", () => { console.log("taken"); s.close(); });`;
  machine.write('/usr/local/lib/take.js', script);
  return (
    await machine.sh('setpriv --reuid=bob --regid=bob --clear-groups node /usr/local/lib/take.js')
  ).trim();
}

async function delivered(machine: Machine, count: number): Promise<void> {
  await machine.until(`test "$(ls ${DELIVERED}/*.eml | wc -l)" = ${count}`, 120);
}

void test(
  'nobody can take the proxy’s port while its service is stopped, restarts, is killed or cannot run; what came waits',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    await machine.sh(SEND, MAIL);
    await delivered(machine, 1);
    assert.equal(
      await machine.sh("stat -c '%U %G %a' /run/appengine-mailer-proxy.sock"),
      'appengine-mailer appengine-mailer 660\n',
    );

    // No drain, which would start the proxy at once.
    await machine.sh('systemctl stop appengine-mailer');
    await machine.sh('systemctl stop appengine-mailer-proxy.service');
    assert.equal(await take(machine, 8025), 'EADDRINUSE');
    await machine.sh(
      'systemctl start appengine-mailer-proxy; systemctl kill -s KILL appengine-mailer-proxy',
    );
    assert.equal(await take(machine, 8025), 'EADDRINUSE');

    // It ends with 78 at once, again and again, and connections are there that want it.
    await machine.sh(
      `cp ${DEFAULTS} /root/defaults; echo APPENGINE_MAILER_BACKEND=smtp >>${DEFAULTS}`,
    );
    await machine.sh(
      'systemctl restart appengine-mailer-proxy || true; systemctl start appengine-mailer',
    );
    await machine.sh(SEND, MAIL);
    await machine.until('test "$(systemctl show -P NRestarts appengine-mailer-proxy)" -ge 2', 120);
    assert.equal(await take(machine, 8025), 'EADDRINUSE');
    assert.equal(await machine.sh(`systemctl is-active ${SOCKET}`), 'active\n');
    const restarts = Number(await machine.sh('systemctl show -P NRestarts appengine-mailer-proxy'));
    assert.ok(restarts < 20, `started anew ${restarts} times`);

    await machine.sh(`cp /root/defaults ${DEFAULTS}; systemctl restart appengine-mailer-proxy`);
    await delivered(machine, 2);
  },
);

void test(
  'another address is held in the place of port 8025, which is free then; systemctl stop of the socket frees it',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    await machine.sh(`sed -i s/8025/8026/ ${DEFAULTS}; systemctl restart appengine-mailer-proxy`);
    // Until the socket is told too, both are served, and that is said.
    await machine.until(
      'journalctl -t appengine-mailer MAIL_EVENT=proxy_listens_elsewhere | grep "systemd holds 127.0.0.1:8025"',
    );
    assert.equal(await take(machine, 8026), 'EADDRINUSE');
    await machine.sh(`systemctl daemon-reload; systemctl restart ${SOCKET}`);
    assert.equal(await take(machine, 8025), 'taken');
    assert.equal(await take(machine, 8026), 'EADDRINUSE');
    await machine.sh(SEND, MAIL);
    await delivered(machine, 1);

    await machine.sh(`sed -i s/8026/8027/ ${DEFAULTS}`);
    await machine.sh('DEBIAN_FRONTEND=noninteractive dpkg-reconfigure appengine-mailer-proxy');
    assert.equal(await take(machine, 8026), 'taken');
    assert.equal(await take(machine, 8027), 'EADDRINUSE');

    await machine.sh(`sed -i s/127.0.0.1:8027/localhost:8028/ ${DEFAULTS}`);
    await machine.sh(`systemctl daemon-reload; systemctl restart ${SOCKET} appengine-mailer-proxy`);
    assert.equal(await take(machine, 8027), 'taken');
    await machine.until(
      'journalctl -t appengine-mailer | grep -E "listens on .* and (127.0.0.1|\\[::1\\]):8028"',
    );

    await machine.sh(`systemctl stop appengine-mailer; systemctl stop ${SOCKET}`);
    assert.equal(
      await machine.sh('systemctl show -P ActiveState appengine-mailer-proxy'),
      'inactive\n',
    );
    assert.equal(await take(machine, 8028), 'taken');
  },
);

void test(
  'a proxy of a package without the socket gets it by the upgrade, and an upgrade never lets go of the port',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const unit = `/usr/lib/systemd/system/${SOCKET}`;
    await machine.sh(
      `systemctl disable --now ${SOCKET}; rm ${unit}; find /var/lib/systemd -name '${SOCKET}*' -delete; systemctl daemon-reload;` +
        'systemctl restart appengine-mailer-proxy',
    );
    const higher = machine.put(higherVersion(builtPackages().proxy, scratch(t)), 'higher.deb');
    await machine.sh(`${INSTALL} ${higher}`);
    assert.equal(
      await machine.sh(`systemctl is-active ${SOCKET}; systemctl is-enabled ${SOCKET}`),
      'active\nenabled\n',
    );
    await machine.sh(SEND, MAIL);
    await delivered(machine, 1);
    const since = await machine.sh(`systemctl show -P ActiveEnterTimestampMonotonic ${SOCKET}`);
    await machine.sh(`${INSTALL} --reinstall ${machine.put(builtPackages().proxy)}`);
    assert.equal(
      await machine.sh(`systemctl show -P ActiveEnterTimestampMonotonic ${SOCKET}`),
      since,
    );
    await machine.sh(SEND, MAIL);
    await delivered(machine, 2);
    await machine.reboot();
    await machine.sh(SEND, MAIL);
    await delivered(machine, 3);
  },
);

void test(
  'without keys neither the socket nor the service runs, and with keys one command starts both',
  needs('machines'),
  async (t) => {
    // A queue that posts elsewhere gives this proxy no key.
    const elsewhere = 'appengine-mailer appengine-mailer/proxy-url string https://p.example.org/';
    const machine = await installedMachine(t, { answers: `${elsewhere}\n` });
    assert.equal(await machine.sh(`systemctl show -P ActiveState ${SOCKET}`), 'inactive\n');
    await machine.sh(
      'umask 077; echo a-key >/etc/envdir/GMAIL_SECRET_KEYS; systemctl start appengine-mailer-proxy',
    );
    assert.equal(
      await machine.sh(`systemctl is-active ${SOCKET} appengine-mailer-proxy`),
      'active\nactive\n',
    );
  },
);

void test(
  'systemctl reload of the proxy needs no program of procps, and fails where the keys cannot be had',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    await machine.sh('rm -f /bin/kill /usr/bin/kill; systemctl reload appengine-mailer-proxy');
    await machine.until('journalctl -t appengine-mailer | grep "the keys were read again"');
    await machine.sh('rm /etc/envdir/GMAIL_SECRET_KEYS');
    assert.equal((await machine.try('systemctl reload appengine-mailer-proxy')).code, 1);
  },
);
