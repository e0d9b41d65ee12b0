import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DELIVERED, installedMachine } from '../support/installed-machine.ts';
import { needs } from '../support/needs.ts';

const SEND = 'sendmail -f alice@example.org you@remote.example';
const MAIL = { input: 'From: alice@example.org\nSubject: trouble\n\nx\n' };

void test(
  'proxy away: mail is taken, waits with growing steps that the journal explains, and arrives once',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    // A connection would start the service alone again.
    await machine.sh('systemctl stop appengine-mailer-proxy.socket');
    await machine.sh(SEND, MAIL);
    const tried = 'journalctl -t appengine-mailer -o json MAIL_EVENT=endpoint_down | wc -l';
    await machine.until(`test $(${tried}) -ge 4`, 120);
    const lines = await machine.sh(
      'journalctl -t appengine-mailer -o json MAIL_EVENT=endpoint_down',
    );
    const entries = lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string>);
    const at = entries.map((entry) => Number(entry['__REALTIME_TIMESTAMP']));
    const waits = at.slice(1).map((time, index) => time - (at[index] ?? 0));
    for (const [index, wait] of waits.slice(1).entries())
      assert.ok(wait > (waits[index] ?? 0), waits.join(' '));
    for (const [index, entry] of entries.entries()) {
      assert.match(entry['MESSAGE_ID'] ?? '', /^[0-9a-f]{32}$/);
      assert.equal(entry['MAIL_ATTEMPT'], String(index + 1));
    }
    const explained = await machine.sh(
      'journalctl -t appengine-mailer -x MAIL_EVENT=endpoint_down -n 1',
    );
    assert.match(explained, /Defined-By: appengine-mailer/);
    assert.match(explained, /Documentation: man:appengine-mailer\(8\)/);

    await machine.sh('systemctl start appengine-mailer-proxy');
    await machine.until(`test "$(ls ${DELIVERED}/*.eml | wc -l)" = 1`, 120);
    await machine.until('appengine-mailer queue stats --json | grep -q \'"queued":0,"sending":0\'');
    assert.equal(await machine.sh(`ls ${DELIVERED}/*.eml | wc -l`), '1\n');
  },
);

void test(
  'a refused recipient: one report in the mailbox of the local sender',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    await machine.sh(
      'echo APPENGINE_MAILER_ALLOW_SENDER=@other.example >>/etc/default/appengine-mailer-proxy;' +
        'systemctl restart appengine-mailer-proxy',
    );
    await machine.sh(SEND, MAIL);
    await machine.until('test -s /var/mail/alice');
    await machine.until('appengine-mailer queue stats --json | grep -q \'"bounced":1\'');
    const mailbox = machine.read('/var/mail/alice').toString();
    assert.equal(mailbox.match(/^From /gm)?.length, 1, mailbox);
    assert.match(mailbox, /^Content-Type: multipart\/report; .*report-type="?delivery-status/ms);
    assert.match(mailbox, /^Final-Recipient: rfc822; ?you@remote\.example$/m);
    assert.match(mailbox, /^Status: 5\.7\.1$/m);
    assert.match(mailbox, /^Auto-Submitted: auto-replied/m);
  },
);

void test(
  'a wrong secret: the queue waits, nothing bounces, check names the cause',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    // Written again and again: a second is the least that systemd tells of a start.
    await machine.until(
      'echo other >/etc/envdir/GMAIL_SECRET_KEY; appengine-mailer check | grep "FAULT drain: .*was started before"',
    );
    await machine.sh('systemctl restart appengine-mailer');
    await machine.sh(SEND, MAIL);
    await machine.until(
      'journalctl -t appengine-mailer MAIL_EVENT=operator_fault | grep -q GMAIL_SECRET',
    );
    const { code, output } = await machine.try('appengine-mailer check');
    assert.equal(code, 1, output);
    assert.match(output, /secret|key/i);
    const stats = JSON.parse(await machine.sh('appengine-mailer queue stats --json')) as Record<
      string,
      unknown
    >;
    const { queued, failed, bounced } = stats;
    assert.deepEqual({ queued, failed, bounced }, { queued: 1, failed: 0, bounced: 0 });
    assert.equal((await machine.try('test -e /var/mail/alice')).code, 1);

    await machine.sh(
      'cp -p /etc/envdir/GMAIL_SECRET_KEYS /etc/envdir/GMAIL_SECRET_KEY; systemctl restart appengine-mailer',
    );
    await machine.until(`ls ${DELIVERED}/*.eml`, 120);
  },
);

void test(
  'the keys of the proxy: a reload without any fails and changes nothing; keys that others can read are told',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    const keys = '/etc/envdir/GMAIL_SECRET_KEYS';
    await machine.sh(`cp -p ${keys} /root/keys; : >${keys}`);
    assert.equal((await machine.try('systemctl reload appengine-mailer-proxy')).code, 1);
    await machine.until(`journalctl -t appengine-mailer | grep "there is no key in ${keys}"`);
    await machine.sh(SEND, MAIL);
    await machine.until(`ls ${DELIVERED}/*.eml`);

    await machine.sh(`cp -p /root/keys ${keys}; chmod 644 ${keys}`);
    await machine.sh('systemctl reload appengine-mailer-proxy');
    await machine.until(`journalctl -t appengine-mailer | grep "others may read ${keys}"`);
  },
);
