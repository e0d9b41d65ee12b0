import assert from 'node:assert/strict';
import { test } from 'node:test';
import { installedMachine } from '../support/installed-machine.ts';
import type { Machine } from '../support/machine.ts';
import { needs } from '../support/needs.ts';

const EXAMPLES = '/usr/share/doc/appengine-mailer/examples';
const UNITS = '/etc/systemd/system';

void test(
  'the examples alert, with the name of the host, about what needs a person and about nothing else',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t);
    await machine.sh(
      `cp ${EXAMPLES}/appengine-mailer-alert /usr/local/sbin/ &&
       cp ${EXAMPLES}/*.service ${EXAMPLES}/*.timer ${UNITS}/ &&
       mkdir -p ${UNITS}/appengine-mailer.service.d &&
       cp ${EXAMPLES}/alert.conf ${UNITS}/appengine-mailer.service.d/
       systemctl daemon-reload`,
    );
    await alertsInto(machine, '/alerts');
    const alerts = async () => machine.sh('cat /alerts 2>/dev/null || true');
    const host = (await machine.sh('hostname -f 2>/dev/null || hostname')).trim();

    // A service that starts again by itself has not failed; one with a wrong option has, right afterwards.
    await machine.sh('systemctl kill -s KILL appengine-mailer');
    await machine.until('systemctl is-active appengine-mailer');
    await machine.until('journalctl -u "appengine-mailer-alert@*" | grep -q Finished', 60);
    assert.equal(await alerts(), '');
    await machine.sh(
      'echo APPENGINE_MAILER_NONE=1 >>/etc/default/appengine-mailer; systemctl restart appengine-mailer || true',
    );
    await machine.until('test -s /alerts', 60);
    const failed = await alerts();
    assert.match(failed, new RegExp(`^${host}: appengine-mailer\\.service has failed\\n`));
    assert.match(failed, /there is no setting APPENGINE_MAILER_NONE/);
    await machine.sh(
      'sed -i /NONE/d /etc/default/appengine-mailer; systemctl restart appengine-mailer; rm /alerts',
    );

    // An error is told once, also when the first alert about it cannot be sent.
    await machine.sh('systemctl start appengine-mailer-watch');
    await machine.sh('rm -f /alerts; touch /alerts-fail');
    await machine.sh(
      'echo wrong-key-0123456789 >/etc/envdir/GMAIL_SECRET_KEY; systemctl restart appengine-mailer',
    );
    await machine.sh('sendmail -f alice@example.org you@remote.example', {
      input: 'Subject: x\n\nx\n',
    });
    await machine.until('journalctl -t appengine-mailer -p err | grep -q GMAIL_SECRET_KEY', 60);
    await machine.sh('! systemctl start appengine-mailer-watch');
    await machine.sh('rm /alerts-fail; systemctl start appengine-mailer-watch');
    const watched = await alerts();
    assert.match(watched, new RegExp(`^${host}: appengine-mailer needs a person\\n`));
    assert.match(watched, /GMAIL_SECRET_KEY/);
    await machine.sh('rm /alerts; systemctl start appengine-mailer-watch');
    assert.equal(await alerts(), '');

    // Mail that waits.
    await machine.sh('systemctl start appengine-mailer-age');
    assert.equal(await alerts(), '');
    await machine.sh(
      `sed -i 's/--max-age 1h/--max-age 0s/' ${UNITS}/appengine-mailer-age.service; systemctl daemon-reload`,
    );
    await machine.sh('systemctl start appengine-mailer-age');
    const waits = await alerts();
    assert.match(waits, new RegExp(`^${host}: mail waits\\n`));
    assert.match(waits, /the oldest message has waited/);

    // The report is mailed to root, and the metrics are in their file.
    await machine.sh('systemctl start appengine-mailer-report appengine-mailer-metrics');
    await machine.until(
      `{ cat /var/mail/*; for id in $(appengine-mailer queue list --ids --state all); do appengine-mailer queue show --raw $id; done; } 2>/dev/null >/mails; grep -q 'Subject: mail report of' /mails`,
      60,
    );
    const mails = await machine.sh('cat /mails');
    assert.match(mails, /^Content-Transfer-Encoding: 8bit$/m);
    assert.match(mails, /^hour +accepted +sent +deferred +failed$/m);
    assert.match(
      await machine.sh('cat /run/appengine-mailer-metrics/appengine-mailer.prom'),
      /^appengine_mailer_drain_up 1$/m,
    );

    await machine.sh('systemd-analyze verify /etc/systemd/system/appengine-mailer-*.timer');
  },
);

/** Lets a web server take the alerts, and append them to a file; it fails while there is FILE-fail. */
async function alertsInto(machine: Machine, file: string): Promise<void> {
  const server = `
    const { appendFileSync, existsSync } = require('node:fs');
    require('node:http').createServer(async (request, response) => {
      for await (const piece of request) if (!existsSync('${file}-fail')) appendFileSync('${file}', piece);
      response.writeHead(existsSync('${file}-fail') ? 500 : 204).end();
    }).listen(8999, '127.0.0.1');`;
  await machine.sh('cat >/receiver.cjs', { input: server });
  await machine.sh('systemd-run --quiet --unit=receiver node /receiver.cjs');
  await machine.sh(
    "sed -i 's|^url=.*|url=http://127.0.0.1:8999/|' /usr/local/sbin/appengine-mailer-alert",
  );
  await machine.until('curl -fs -X POST http://127.0.0.1:8999/');
}
