import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { onMachine, type MachineFiles } from '../support/on-machine.ts';
import { inCheckout, start, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

/** As Debian's installer leaves it: the host name is short, /etc/hosts has the whole name. */
const named: MachineFiles = {
  hostname: 'hosta',
  hosts: '127.0.0.1 localhost\n127.0.1.1 hosta.example.com hosta',
  mailname: 'example.com',
};
const nameless: MachineFiles = { hostname: 'hosta', hosts: '127.0.0.1 localhost hosta' };

function startOn(
  t: TestContext,
  road: Road,
  machine: MachineFiles,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Program {
  const program = inCheckout('dist/bin/appengine-mailer.js');
  const [file, words] = onMachine(road.folder, machine, process.execPath, program, ...args);
  return start(t, file, words, { env, input: '', cwd: road.folder });
}

/** The report that a drain on this machine makes of a refusal, and its EHLO. */
async function reportFrom(
  t: TestContext,
  machine: MachineFiles,
): Promise<{ ehlo: string[]; report: string }> {
  const road = new Road(t);
  handIn(road.spool, [{ sender: 'boss@other.example.com' }]);
  const smtp = await ScriptedSmtp.start(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '5.1.1', reason: 'no such user' })),
  );
  const drain = startOn(t, road, machine, ['drain', '--once', '--spool', road.spool], {
    GMAIL_PROXY_URL: proxy.url,
    GMAIL_SECRET_KEY: road.key,
    APPENGINE_MAILER_NOTICE_SMTP: `127.0.0.1:${smtp.port}`,
  });
  const { code, stderr } = await drain.ended;
  assert.equal(code, 0, stderr);
  return { ehlo: smtp.said('EHLO'), report: smtp.messages[0]?.bytes.toString() ?? '' };
}

test(
  'a report has /etc/mailname in its address and Message-ID, and the full host name as Reporting-MTA and in EHLO',
  needs('root'),
  async (t) => {
    const { ehlo, report } = await reportFrom(t, named);
    assert.deepEqual(ehlo, ['EHLO hosta.example.com']);
    assert.match(report, /^From: Mail Delivery System <MAILER-DAEMON@example\.com>\r$/m);
    assert.match(report, /^Message-ID: <[0-9a-f]{32}@example\.com>\r$/m);
    assert.match(report, /^Reporting-MTA: dns; hosta\.example\.com\r$/m);
  },
);

test('without /etc/mailname a report comes from the full host name', needs('root'), async (t) => {
  const { hostname, hosts } = named;
  const { report } = await reportFrom(t, { hostname, hosts });
  assert.match(report, /<MAILER-DAEMON@hosta\.example\.com>/);
  assert.match(report, /^Message-ID: <[0-9a-f]{32}@hosta\.example\.com>\r$/m);
});

test(
  'where the host has no full name, EHLO has its address, and a report the name of /etc/mailname',
  needs('root'),
  async (t) => {
    const { ehlo, report } = await reportFrom(t, { ...nameless, mailname: 'example.com' });
    assert.deepEqual(ehlo, ['EHLO [127.0.0.1]']);
    assert.match(report, /<MAILER-DAEMON@example\.com>/);
    assert.match(report, /^Reporting-MTA: dns; example\.com\r$/m);
  },
);

/** What a proxy on this machine says in EHLO to a relay on this address, and in its journal. */
async function proxyOn(
  t: TestContext,
  machine: MachineFiles,
  address: string,
): Promise<{ ehlo: string[]; said: string }> {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t, {}, address);
  const relay = [
    '--smtp-host',
    address,
    '--smtp-port',
    String(smtp.port),
    '--smtp-security',
    'none',
  ];
  const args = ['proxy', '--listen', '127.0.0.1:0', '--backend', 'smtp', ...relay];
  const proxy = startOn(t, road, machine, args, { GMAIL_SECRET_KEY: road.key });
  [, road.address = ''] = await proxy.says(/proxy listens on (\S+),/);
  handIn(road.spool, [{}]);
  assert.equal((await road.drain(['--once']).ended).code, 0);
  await proxy.stop();
  return { ehlo: smtp.said('EHLO'), said: proxy.stderr };
}

test('the proxy says the full name of its machine to the relay', needs('root'), async (t) => {
  const { ehlo, said } = await proxyOn(t, named, '127.0.0.1');
  assert.deepEqual(ehlo, ['EHLO hosta.example.com']);
  assert.doesNotMatch(said, /To do/);
});

test(
  'a proxy whose machine has no full name says its own address, and at its start what to do',
  needs('root'),
  async (t) => {
    const { ehlo, said } = await proxyOn(t, nameless, '::1');
    assert.deepEqual(ehlo, ['EHLO [IPv6:::1]']);
    assert.match(
      said,
      /no fully qualified name .* To do: set --smtp-name .* or write its name into \/etc\/hosts, as in "127\.0\.1\.1 hosta\.example\.org hosta", then systemctl restart appengine-mailer-proxy\n/,
    );
  },
);

test('gmail writes from the domain of /etc/mailname', needs('root'), async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  const words = [process.execPath, inCheckout('dist/bin/gmail.js'), 'you@example.net'];
  const [file, args] = onMachine(road.folder, named, ...words);
  const env = { GMAIL_PROXY_URL: proxy.url, GMAIL_SECRET_KEY: road.key };
  const { code, stderr } = await start(t, file, args, { env, input: 'hello\n' }).ended;
  assert.equal(code, 0, stderr);
  assert.equal(proxy.posts[0]?.sender, 'root@example.com');
});
