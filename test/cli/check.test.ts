import assert from 'node:assert/strict';
import { spoolTroubleStatus } from '../../src/spool/with-spool.ts';
import { binaryFile } from '../../src/sqlite/better-sqlite3.ts';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { certificate } from '../support/certificate.ts';
import { clock } from '../support/clock.ts';
import { DebianExim, SOCKET } from '../support/debian-exim.ts';
import { Forwarder } from '../support/forwarder.ts';
import { assertGolden } from '../support/golden.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

const SPOOL = '/var/spool/appengine-mailer';
const KEY = '/etc/envdir/GMAIL_SECRET_KEY';
const DEFAULTS = '/etc/default/appengine-mailer';
const URL_FILE = '/etc/envdir/GMAIL_PROXY_URL';
const ALL =
  'exim intake pipe names spool durable space log drain secret proxy certificate signature clock progress';
const OPERATOR = ['setpriv', '--reuid=1', '--regid=64990', '--clear-groups', '--'];

interface Found {
  check: string;
  ok: boolean | null;
  text: string;
  todo: string | null;
}

/** A host on which everything is right: Exim is hooked, the proxy runs, and so does drain if wanted. */
class Host {
  readonly exim: DebianExim;
  readonly road: Road;
  readonly proxy: Program;
  readonly drain: Program | undefined;

  private constructor(exim: DebianExim, road: Road, proxy: Program, drain: Program | undefined) {
    this.exim = exim;
    this.road = road;
    this.proxy = proxy;
    this.drain = drain;
  }

  static async make(t: TestContext, withDrain: boolean, backend?: string[]): Promise<Host> {
    const [exim, road] = [await DebianExim.make(t, { split: true }), new Road(t)];
    const proxy = await road.proxy(backend ?? (await toRelay(t)));
    await exim.switch('enable');
    exim.write(KEY, `${road.key}\n`);
    chmodSync(exim.path(KEY), 0o600);
    exim.write(URL_FILE, `http://${road.address}/\n`);
    exim.write('/etc/hosts', `127.0.0.1 localhost\n127.0.1.1 mx.host.example ${hostname()}\n`);
    await exim.send('me@host.example', ['you@remote.example']);
    if (!withDrain) return new Host(exim, road, proxy, undefined);
    const program = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), 'drain'];
    const drain = exim.start('env', program);
    await drain.says(/you@remote\.example.* sent/);
    return new Host(exim, road, proxy, drain);
  }

  /** Runs `check --json`; returns what it found, and fails if its exit code does not fit. */
  async check(
    args: string[] = [],
    env: NodeJS.ProcessEnv = {},
    by: string[] = [],
  ): Promise<Found[]> {
    const { code, said } = await this.exim.appengineMailer(['check', '--json', ...args], env, by);
    const lines = said.split('\n').filter((line) => line.startsWith('{'));
    const found = lines.map((line) => JSON.parse(line) as Found);
    assert.equal(found.map(({ check }) => check).join(' '), ALL, said);
    assert.equal(code, found.some(({ ok }) => ok === false) ? 1 : 0, said);
    for (const { ok, todo } of found) assert.equal(ok === false, todo !== null, said);
    assert.doesNotMatch(said, /a secret key/);
    return found;
  }
}

/** Options of a proxy whose mail leaves its machine. */
async function toRelay(t: TestContext): Promise<string[]> {
  const { port } = await ScriptedSmtp.start(t);
  const to = ['--smtp-host', '127.0.0.1', '--smtp-port', String(port), '--smtp-security', 'none'];
  return ['--backend', 'smtp', ...to, '--smtp-name', 'mx.host.example'];
}

const faults = (found: Found[]) => found.filter(({ ok }) => ok === false);
const names = (found: Found[]) => found.map(({ check }) => check).join(' ');

test('all is well: every line is ok, and the exit code 0', needs('root', 'exim4'), async (t) => {
  const host = await Host.make(t, true);
  // Without an LMTP server too, which is no fault where there is no systemd.
  assert.ok((await host.check()).every(({ ok }) => ok === true));
  await host.exim.intake();
  const { code, said } = await host.exim.appengineMailer(['check']);
  assert.equal(code, 0);
  const lines = said.trim().split('\n');
  assert.ok(
    lines.every((line) => /^ok {4}[a-z]+: [^\n]+$/.test(line)),
    said,
  );
  const stable = said.replace(/:\d+\/ answers/, ':8025/ answers').replace(/\d+ s\b/g, '1 s');
  assertGolden('test/cli/golden/check.txt', stable);
  assert.match(said, /^ok {4}drain: a drain is running/m);
  assert.match(said, /^ok {4}progress: the last post passed \d+ s ago$/m);
});

test(
  'check notes that nothing leaves the machine of a proxy with the file backend, which is no fault',
  needs('root', 'exim4'),
  async (t) => {
    const host = await Host.make(t, true, []);
    const { code, said } = await host.exim.appengineMailer(['check']);
    assert.equal(code, 0, said);
    assert.match(
      said,
      /^NOTE {2}signature: .* says of its own machine: nothing leaves this machine: all mail is kept in \/.*\. To do: /m,
    );
  },
);

test(
  'an operator is told what only root can see, and that is no fault (law 10)',
  needs('root', 'exim4'),
  async (t) => {
    const host = await Host.make(t, true);
    const found = await host.check([], {}, OPERATOR);
    assert.deepEqual(faults(found), []);
    const unknown = found.filter(({ ok }) => ok === null);
    assert.equal(names(unknown), 'secret signature');
    assert.match(unknown[0]?.text ?? '', /only root can look/);
  },
);

/** One thing that is wrong: the faults that are found, what the first of them says and what is to be done. */
interface Wrong {
  drain?: boolean;
  spoil?: (host: Host, t: TestContext) => void | Promise<unknown>;
  args?: string[];
  env?: NodeJS.ProcessEnv;
  faults: string;
  text: RegExp;
  todo: RegExp;
  /** What then cannot be checked. */
  unknown?: string;
}

const wrongs: Record<string, Wrong> = {
  'Exim is not hooked': {
    drain: true,
    spoil: ({ exim }) => exim.switch('disable'),
    faults: 'exim',
    text: /not enabled/,
    todo: /exim enable/,
  },
  'exim-pipe has a module of another ABI': {
    drain: true,
    spoil: otherAbi,
    faults: 'pipe',
    text: /exim-pipe does not run: .*better-sqlite3.*\.node, which is built for another/,
    todo: /^install Node\.js 20 .* Exim keeps the mail/,
  },
  'exim-pipe is gone': {
    drain: true,
    spoil: ({ exim }) => exim.write('/usr/lib/appengine-mailer/exim-pipe', '#!/bin/false\n'),
    faults: 'pipe',
    text: /exim-pipe does not run/,
    todo: /Exim keeps the mail/,
  },
  'the LMTP server was killed and left its socket': {
    drain: true,
    spoil: async ({ exim }) => {
      const intake = await exim.intake();
      await intake.stop('SIGKILL');
    },
    faults: 'intake',
    text: /^no LMTP server answers on \/run\/appengine-mailer\/intake\.sock: .*ECONNREFUSED/,
    todo: /^run appengine-mailer intake, or remove .* makes Exim use exim-pipe$/,
  },
  'Exim may not use the socket of the LMTP server': {
    drain: true,
    spoil: async ({ exim }) => {
      await exim.intake();
      await exim.succeeds('chgrp', 'appengine-mailer', SOCKET);
    },
    faults: 'intake',
    text: /^Exim \(Debian-exim\) may not connect to /,
    todo: /^chgrp \$\(id -gn Debian-exim\) \/run\//,
  },
  'the machine has a short name alone': {
    drain: true,
    spoil: ({ exim }) => exim.write('/etc/hosts', `127.0.0.1 localhost ${hostname()}\n`),
    faults: 'names',
    text: /no fully qualified name \(see hostname -f\)$/,
    todo: /^write its name into \/etc\/hosts, as in "127\.0\.1\.1 \S+\.example\.org \S+", then systemctl restart/,
  },
  'the mail name is short': {
    drain: true,
    spoil: ({ exim }) => exim.write('/etc/mailname', 'host\n'),
    faults: 'names',
    text: /^\/etc\/mailname says host, which is not a fully qualified domain name$/,
    todo: /into \/etc\/mailname, then systemctl restart/,
  },
  'there is no spool': {
    spoil: ({ exim }) => exim.run('sh', '-c', `rm ${SPOOL}/*`),
    faults: 'spool drain',
    text: /there is no spool in/,
    todo: /the service makes it/,
    unknown: 'durable space log progress',
  },
  'the spool is read-only': {
    spoil: ({ exim }) => exim.succeeds('mount', '-o', 'remount,bind,ro', SPOOL),
    faults: 'spool drain',
    text: /read-only file system/,
    todo: /fix that/,
    unknown: 'durable space log progress',
  },
  'the spool is of another owner': {
    spoil: ({ exim }) => exim.succeeds('sh', '-c', `chown -R root: ${SPOOL}; chmod 755 ${SPOOL}`),
    faults: 'spool drain',
    text: /appengine-mailer may not write \/var\/spool\/appengine-mailer$/,
    todo: /chown -R appengine-mailer:/,
  },
  'the disk is full': {
    spoil: ({ exim }) =>
      exim.succeeds(
        'sh',
        '-c',
        `mkdir /keep && cp -a ${SPOOL}/. /keep && mount -t tmpfs -o size=8M,mode=2770,uid=64990 tmpfs ${SPOOL} &&
         cp -a /keep/. ${SPOOL} && dd if=/dev/zero of=${SPOOL}/fill bs=64k 2>/dev/null; rm ${SPOOL}/fill &&
         head -c 8000000 /dev/zero >${SPOOL}/fill`,
      ),
    faults: 'space drain',
    text: /only \d+ kB free/,
    todo: /make room/,
  },
  'nothing drains the spool any more': {
    spoil: ({ exim }) => exim.succeeds('touch', `${SPOOL}/drain.lock`),
    faults: 'drain',
    text: /nothing sends what is in .* there is no systemd/,
    todo: /run appengine-mailer drain/,
  },
  'others can read the key': {
    drain: true,
    spoil: ({ exim }) => chmodSync(exim.path(KEY), 0o644),
    faults: 'secret',
    text: /has mode 0644 and owner 0: others may read/,
    todo: /chmod 600 .* exchange the key/,
  },
  'the key can be guessed': {
    drain: true,
    spoil: ({ exim }) => exim.write(KEY, 'fifteen octets.\n'),
    faults: 'secret signature',
    text: /^GMAIL_SECRET_KEY is shorter than 16 octets, so that it can be guessed$/,
    todo: /openssl rand -base64 32/,
  },
  'the key is in a file of variables, which everybody reads': {
    drain: true,
    spoil: ({ exim, road }) => {
      exim.remove(KEY);
      exim.write(DEFAULTS, `GMAIL_SECRET_KEY='${road.key}'\n`);
      chmodSync(exim.path(DEFAULTS), 0o644);
    },
    faults: 'secret',
    text: /^\/etc\/default\/appengine-mailer has mode 0644, so that everybody on this machine can read/,
    todo: /take the key out of \/etc\/default\/appengine-mailer, .* exchange the key/,
  },
  'there is no key': {
    drain: true,
    spoil: ({ exim }) => exim.remove(KEY),
    faults: 'secret',
    text: /GMAIL_SECRET_KEY is not set/,
    todo: /put the key into \/etc\/envdir/,
    unknown: 'signature',
  },
  'the key is wrong': {
    drain: true,
    spoil: ({ exim }) => exim.write(KEY, 'another key, as long as that\n'),
    faults: 'signature',
    text: /the proxy answered 401/,
    todo: /check that GMAIL_SECRET_KEY is one of the keys of the proxy/,
  },
  'there is no URL': {
    drain: true,
    spoil: ({ exim }) => exim.remove(URL_FILE),
    faults: 'proxy',
    text: /GMAIL_PROXY_URL is not set/,
    todo: /\/etc\/envdir/,
    unknown: 'certificate signature clock',
  },
  'the proxy is away, and mail waits': {
    drain: true,
    spoil: async ({ proxy, exim, drain }) => {
      await proxy.stop();
      await exim.send('me@host.example', ['you@remote.example']);
      await drain?.says(/try 1 failed/);
    },
    faults: 'proxy progress',
    text: /cannot be reached: .*ECONNREFUSED/,
    todo: /see whether the proxy runs/,
    unknown: 'certificate signature clock',
  },
  "the certificate is nobody's": {
    drain: true,
    spoil: (host, t) => behindTls(host, t),
    faults: 'proxy',
    text: /no trusted TLS connection .*self-signed/,
    todo: /check the proxy's certificate/,
    unknown: 'certificate signature clock',
  },
  'the certificate soon expires': {
    drain: true,
    spoil: (host, t) => behindTls(host, t),
    args: ['--ca-file', '/proxy.pem'],
    env: clock('+40h'),
    faults: 'certificate clock',
    text: /^only valid for [78] h$/,
    todo: /have it renewed/,
  },
  'another web server is there': {
    drain: true,
    spoil: otherServer,
    faults: 'proxy signature',
    text: /the proxy answered 404/,
    todo: /check the path of GMAIL_PROXY_URL/,
  },
  'the clock is an hour ahead': {
    drain: true,
    env: clock('+1h'),
    faults: 'clock',
    text: /^this clock differs from the proxy's by (?:60 min|3600 s|1 h)$/,
    todo: /timedatectl/,
  },
  'mail has waited for long': {
    env: clock('+2h'),
    faults: 'drain clock progress',
    text: /nothing sends/,
    todo: /drain/,
  },
};

for (const [name, wrong] of Object.entries(wrongs)) {
  test(
    `the cause is named: ${name}`,
    needs('root', 'exim4', 'openssl', 'faketime', 'cc'),
    async (t) => {
      const host = await Host.make(t, wrong.drain ?? false);
      await wrong.spoil?.(host, t);
      const found = await host.check(wrong.args, wrong.env);
      const [first] = faults(found);
      assert.equal(names(faults(found)), wrong.faults, JSON.stringify(found, null, 1));
      assert.match(first?.text ?? '', wrong.text);
      assert.match(first?.todo ?? '', wrong.todo);
      assert.equal(names(found.filter(({ ok }) => ok === null)), wrong.unknown ?? '');
    },
  );
}

test('HTTP v1 has no probe: the signature is left out', needs('root', 'exim4'), async (t) => {
  const host = await Host.make(t, true);
  const found = await host.check(['--wire', 'v1']);
  assert.deepEqual(faults(found), []);
  assert.equal(names(found.filter(({ ok }) => ok === null)), 'signature');
});

test(
  'a certificate that lives for two days is none that soon expires, when it is new',
  needs('root', 'exim4', 'openssl'),
  async (t) => {
    const host = await Host.make(t, true);
    await behindTls(host, t);
    assert.deepEqual(faults(await host.check(['--ca-file', '/proxy.pem'])), []);
  },
);

/** Puts TLS before the proxy, with a certificate of its own that is valid for two days. */
async function behindTls({ exim, road }: Host, t: TestContext): Promise<void> {
  const { key, cert } = await certificate(t, road.folder);
  const tls = await Forwarder.open(t, `http://${road.address}/`, { key, cert });
  exim.write('/proxy.pem', cert.toString());
  exim.write(URL_FILE, `https://127.0.0.1:${tls.port}/\n`);
}

/** Lets another web server be where the proxy is looked for. */
async function otherServer({ exim }: Host, t: TestContext): Promise<void> {
  const server = createServer((_, response) => {
    response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not found</h1>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  exim.write(URL_FILE, `http://127.0.0.1:${port}/\n`);
}

/** Replaces exim-pipe's native module by one that says that it is for another Node.js. */
async function otherAbi({ exim, road }: Host, t: TestContext): Promise<void> {
  const [source, library] = [join(road.folder, 'abi.c'), join(road.folder, 'abi.node')];
  writeFileSync(
    source,
    `struct module { int version; unsigned flags; void *dso; const char *file; void *init, *init_context;
       const char *name; void *data, *link; };
     void node_module_register(void *);
     static struct module module = { .version = 1, .file = "abi.c", .name = "better_sqlite3" };
     __attribute__((constructor)) static void start(void) { node_module_register(&module); }`,
  );
  const { code, stderr } = await run(t, 'cc', ['-shared', '-fPIC', '-o', library, source]);
  assert.equal(code, 0, stderr);
  await exim.succeeds('cp', library, `/usr/lib/appengine-mailer/node_modules/${binaryFile}`);
}

/** What systemd says of the unit, as far as `check` asks. */
const UNIT_STATES: Record<string, { says: string; text: RegExp; todo: RegExp }> = {
  'was started before the key was changed': {
    says: 'ActiveState=active\nExecMainStartTimestamp=@1000000000',
    text: /is active, but was started before \/etc\/envdir\/GMAIL_SECRET_KEY was changed/,
    todo: /^systemctl restart appengine-mailer\.service$/,
  },
  'cannot write the spool': {
    says: `ActiveState=active\nExecMainStartTimestamp=@99999999999\nStatusText=${spoolTroubleStatus}: disk is full`,
    text: /^the spool cannot be written, so nothing is sent: disk is full$/,
    todo: /^make room on the disk/,
  },
  'lacks its settings': {
    says: 'ActiveState=inactive\nConditionResult=no\nConditionTimestamp=@1000000000',
    text: /is inactive/,
    todo: /the URL or the key is missing: run dpkg-reconfigure appengine-mailer/,
  },
  'was never started': {
    says: 'ActiveState=inactive\nConditionResult=no\nConditionTimestamp=',
    text: /is inactive/,
    todo: /^systemctl enable --now/,
  },
  'ended with wrong options': {
    says: 'ActiveState=failed\nConditionResult=yes\nConditionTimestamp=@1000000000',
    text: /is failed/,
    todo: /^journalctl -u appengine-mailer\.service -n 20 tells why/,
  },
};

for (const [name, { says, text, todo }] of Object.entries(UNIT_STATES)) {
  test(`the cause is named: the unit ${name}`, needs('root', 'exim4'), async (t) => {
    const host = await Host.make(t, false);
    await host.exim.intake();
    await host.exim.succeeds('mkdir', '-p', '/run/systemd/system');
    host.exim.write('/usr/bin/systemctl', `#!/bin/sh\nprintf '${says}\\n'\n`);
    await host.exim.succeeds('chmod', '755', '/usr/bin/systemctl');
    const found = faults(await host.check());
    assert.equal(names(found), 'drain');
    assert.match(found[0]?.text ?? '', text);
    assert.match(found[0]?.todo ?? '', todo);
  });
}

test(
  'what an unprivileged account may not see is not called a fault',
  needs('root', 'exim4'),
  async (t) => {
    const host = await Host.make(t, true);
    const unprivileged = ['setpriv', '--reuid=1', '--regid=1', '--clear-groups', '--'];
    const found = await host.check([], {}, unprivileged);
    for (const check of ['spool', 'drain', 'secret', 'progress']) {
      assert.equal(found.find((each) => each.check === check)?.ok, null, check);
    }
    const text = found.find(({ check }) => check === 'spool')?.text ?? '';
    assert.match(text, /only root and the group appengine-mailer may look$/);
  },
);
