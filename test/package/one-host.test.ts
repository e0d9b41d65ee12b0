import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INSTALL, installedMachine } from '../support/installed-machine.ts';
import { builtPackages } from '../support/debian-packages.ts';
import { figures } from '../support/figures.ts';
import type { Machine } from '../support/machine.ts';
import { needs } from '../support/needs.ts';

const API_KEY = 'key-of-the-domain-0123456789';

/** All that an administrator answers: one provider and its key. */
const ANSWERS = `
appengine-mailer-proxy appengine-mailer-proxy/backend select mailgun
appengine-mailer-proxy appengine-mailer-proxy/mailgun-domain string mg.example.org
appengine-mailer-proxy appengine-mailer-proxy/mailgun-url string http://127.0.0.1:9025/
appengine-mailer-proxy appengine-mailer-proxy/mailgun-api-key password ${API_KEY}
`;

/** Takes what Mailgun takes, and keeps it in a file: a message to nobody is a 400. */
const PROVIDER = `
  const { createServer } = require('node:http');
  const { appendFileSync } = require('node:fs');
  createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces).toString('latin1');
      const isToSomebody = /name="to"\\r\\n\\r\\n[^\\r]/.test(body);
      const { url, headers: { authorization } } = request;
      if (isToSomebody) appendFileSync('/root/taken', JSON.stringify({ url, authorization, body }) + '\\n');
      response.writeHead(isToSomebody ? 200 : 400);
      response.end(JSON.stringify({ id: '<1@mg>', message: 'Queued. Thank you.' }));
    });
  }).listen(9025, '127.0.0.1');`;

void test(
  'one host, two packages and one key of a provider: the first mail leaves in three steps (law 10)',
  needs('machines'),
  async (t) => {
    const machine = await installedMachine(t, { answers: ANSWERS });
    await startProvider(machine);

    const began = performance.now();
    await machine.sh('appengine-mailer exim enable');
    for (const check of ['appengine-mailer-proxy check', 'appengine-mailer check']) {
      const { code, output } = await machine.try(check);
      assert.equal(code, 0, output);
    }
    await machine.sh('sendmail -oi -f alice@example.org you@remote.example', {
      input: 'From: alice@example.org\nTo: you@remote.example\nSubject: first\n\nIt works.\n',
    });
    await machine.until('grep -q "It works" /root/taken');
    const seconds = Math.round((performance.now() - began) / 1000);
    figures(t, 'one host', { 'seconds for exim enable, both checks and the first mail': seconds });

    const [line = ''] = (await machine.sh('cat /root/taken')).split('\n');
    const { url, authorization, body } = JSON.parse(line) as Record<string, string>;
    assert.equal(url, '/v3/mg.example.org/messages.mime');
    assert.equal(authorization, `Basic ${Buffer.from(`api:${API_KEY}`).toString('base64')}`);
    assert.match(body ?? '', /name="to"\r\n\r\nyou@remote\.example\r\n/);
    await bothHaveOneKey(machine);

    // The secret is in root's file alone, and debconf has forgotten it.
    assert.equal(
      await machine.sh(
        'stat -c "%U %a" /etc/envdir/MAILGUN_API_KEY; cat /etc/envdir/MAILGUN_API_KEY',
      ),
      `root 600\n${API_KEY}\n`,
    );
    const found = await machine.try(`grep -rlF ${API_KEY} /etc /var/cache /var/lib /var/log`);
    assert.equal(found.output, '/etc/envdir/MAILGUN_API_KEY\n');

    // Asked again with nobody to answer, and installed again in the other order: all stays as it is.
    const before = await settings(machine);
    for (const name of ['appengine-mailer-proxy', 'appengine-mailer']) {
      await machine.sh(`dpkg-reconfigure -fnoninteractive ${name}`);
    }
    assert.equal(await settings(machine), before);
    await machine.sh('apt-get -qq -y purge appengine-mailer appengine-mailer-proxy');
    assert.equal((await machine.try('ls /etc/envdir')).code, 2);

    const { host, proxy } = builtPackages();
    for (const order of [
      [proxy, host],
      [host, proxy],
    ]) {
      await machine.sh('debconf-set-selections', { input: ANSWERS });
      const begins = performance.now();
      for (const each of order) await machine.sh(`${INSTALL} ${machine.put(each)}`);
      const took = Math.round((performance.now() - begins) / 1000);
      figures(t, 'one host', { 'seconds to install both packages': took });
      await bothHaveOneKey(machine);
      await machine.sh('appengine-mailer exim enable; appengine-mailer check');
      await machine.sh('apt-get -qq -y purge appengine-mailer appengine-mailer-proxy');
    }
  },
);

async function startProvider(machine: Machine): Promise<void> {
  machine.write('root/provider.cjs', PROVIDER);
  await machine.sh('systemd-run --quiet --unit provider node /root/provider.cjs');
  await machine.until(`node -e "fetch('http://127.0.0.1:9025/')"`);
}

async function bothHaveOneKey(machine: Machine): Promise<void> {
  const key = await machine.sh('cat /etc/envdir/GMAIL_SECRET_KEY');
  assert.match(key, /^[0-9A-Za-z+/]{43}=\n$/);
  assert.equal(await machine.sh('cat /etc/envdir/GMAIL_SECRET_KEYS'), `# name local\n${key}`);
  assert.equal(
    await machine.sh('stat -c "%U %a" /etc/envdir/GMAIL_SECRET_KEY*'),
    'root 600\nroot 600\n',
  );
  const url = await machine.sh('cat /etc/envdir/GMAIL_PROXY_URL');
  assert.equal(url, 'http+unix:/run/appengine-mailer-proxy.sock\n');
  for (const unit of ['appengine-mailer', 'appengine-mailer-proxy']) {
    await machine.until(`systemctl is-active --quiet ${unit}`);
  }
}

async function settings(machine: Machine): Promise<string> {
  return machine.sh(
    'cd /etc; head -n 99 envdir/* default/appengine-mailer*; stat -c "%n %a" envdir/*',
  );
}
