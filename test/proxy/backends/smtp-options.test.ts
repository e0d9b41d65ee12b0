import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { CommandError } from '../../../src/host/command-error.ts';
import { Origins, readOptions } from '../../../src/host/options.ts';
import { smtpOptions, smtpRelay } from '../../../src/proxy/backends/smtp/smtp-options.ts';
import { handIn } from '../../support/hand-in.ts';
import { lookInto } from '../../support/look-into.ts';
import { appengineMailer } from '../../support/program.ts';
import { Road } from '../../support/road.ts';
import { scratch } from '../../support/scratch.ts';
import { ScriptedSmtp } from '../../support/scripted-smtp.ts';

const google = {
  APPENGINE_SMTP_HOST: 'google.example',
  APPENGINE_SMTP_PORT: '2525',
  APPENGINE_SMTP_USER: 'g',
  APPENGINE_SMTP_PASSWORD: 'secret',
};

/** The relay that options and the environment describe. */
function relayOf(given: Record<string, string>, environment: NodeJS.ProcessEnv, folder?: string) {
  const options = readOptions(smtpOptions, given, new Origins(), environment);
  return smtpRelay(options, { environment, ...(folder !== undefined && { folder }) });
}

function settings(given: Record<string, string>, environment: NodeJS.ProcessEnv) {
  const { host, port, security, auth } = relayOf(given, environment);
  return { host, port, security, auth };
}

test("an option counts before Google's own name for it", () => {
  const auth = { user: 'g', pass: 'secret' };
  const [host, port] = ['google.example', 2525];
  assert.deepEqual(settings({}, google), { host, port, security: 'starttls', auth });
  assert.deepEqual(
    settings({ 'smtp-host': 'ours.example', 'smtp-port': '26', 'smtp-user': 'o' }, google),
    {
      host: 'ours.example',
      port: 26,
      security: 'starttls',
      auth: { user: 'o', pass: 'secret' },
    },
  );
  const plain = { ...google, APPENGINE_SMTP_USE_TLS: 'false', APPENGINE_SMTP_HOST: '127.0.0.1' };
  assert.equal(settings({}, plain).security, 'none');
  assert.equal(settings({ 'smtp-security': 'tls' }, plain).security, 'tls');
});

test('the relay is a name or an address, of either kind', () => {
  for (const smtpHost of ['relay_1.example.org', 'bücher.example', '192.0.2.1', '2001:db8::1']) {
    assert.equal(settings({ 'smtp-host': smtpHost }, {}).host, smtpHost);
  }
});

test('ports: 587, and 465 for TLS', () => {
  const securities = [
    {},
    ...['starttls', 'none', 'tls'].map((each) => ({ 'smtp-security': each })),
  ];
  const ports = securities.map((security) => settings({ 'smtp-host': 'r', ...security }, {}).port);
  assert.deepEqual(ports, [587, 587, 587, 465]);
});

test('secrets are read from the places of other secrets, and never shown (law 10)', (t) => {
  const folder = scratch(t);
  const credentials = join(folder, 'credentials');
  mkdirSync(credentials);
  const environment = { CREDENTIALS_DIRECTORY: credentials };
  const argv = { 'smtp-host': 'r', 'smtp-user': 'u' };
  const auth = () => relayOf(argv, environment, folder).auth;
  writeFileSync(join(folder, 'APPENGINE_SMTP_PASSWORD'), ' pässword \nrest\n');
  assert.deepEqual(auth(), { user: 'u', pass: 'pässword' });
  writeFileSync(join(credentials, 'APPENGINE_SMTP_PASSWORD'), 'other');
  assert.deepEqual(auth(), { user: 'u', pass: 'other' });
  rmSync(join(folder, 'APPENGINE_SMTP_PASSWORD'));
  rmSync(join(credentials, 'APPENGINE_SMTP_PASSWORD'));

  const json = { client_id: 'i', client_secret: 's', refresh_token: 'r', type: 'authorized_user' };
  writeFileSync(join(credentials, 'APPENGINE_SMTP_OAUTH'), JSON.stringify(json, null, 2));
  assert.deepEqual(auth(), {
    user: 'u',
    oauth: {
      kind: 'refresh token',
      tokenUrl: new URL('https://accounts.google.com/o/oauth2/token'),
      clientId: 'i',
      clientSecret: 's',
      refreshToken: 'r',
    },
  });
  for (const bad of ['s3cret', '"s3cret"', 'null', '{"client_secret":"s3cret"}']) {
    writeFileSync(join(credentials, 'APPENGINE_SMTP_OAUTH'), bad);
    assert.throws(auth, (error: CommandError) => {
      assert.match(error.message, /^APPENGINE_SMTP_OAUTH is not JSON that contains /);
      return !error.message.includes('s3cret');
    });
  }
});

test('options and settings that do not describe a relay are refused: 64 for a wrong option, 78 else', () => {
  const rows: [Record<string, string>, NodeJS.ProcessEnv, RegExp, exitCode?: 64][] = [
    [{}, {}, /^the smtp backend needs a relay: --smtp-host, or APPENGINE_SMTP_HOST$/],
    [{ 'smtp-host': '' }, {}, /needs a relay: --smtp-host/],
    [
      { 'smtp-host': 'r', 'smtp-port': 'x' },
      {},
      /^--smtp-port takes a whole number from 1 to 65535 /,
      64,
    ],
    [{ 'smtp-host': 'r', 'smtp-port': '65536' }, {}, /--smtp-port/, 64],
    [{ 'smtp-host': 'r' }, { APPENGINE_SMTP_PORT: 'x' }, /^APPENGINE_SMTP_PORT takes/],
    [
      { 'smtp-host': 'r', 'smtp-security': 'ssl' },
      {},
      /^--smtp-security takes starttls, tls or none and got "ssl"$/,
      64,
    ],
    [{ 'smtp-host': 'r', 'smtp-user': 'u' }, {}, /no password for --smtp-user u: .*_PASSWORD$/],
    [{ 'smtp-host': 'r', 'smtp-user': 'u' }, { APPENGINE_SMTP_PASSWORD: '\n' }, /no password/],
    [
      { 'smtp-host': 'r' },
      { APPENGINE_SMTP_PASSWORD: 'p' },
      /a password for the relay, and no --smtp-user/,
    ],
    [
      { 'smtp-host': 'r', 'smtp-ca-file': '/nowhere/ca' },
      {},
      /certificates .* from \/nowhere\/ca: ENOENT/,
    ],
    [{ 'smtp-host': 'r', 'smtp-ca-file': '/dev/null' }, {}, /certificates .* from \/dev\/null: /],
    [{ 'smtp-host': 'r:25' }, {}, /^--smtp-host takes a name or an IP address and got "r:25"$/, 64],
    [{ 'smtp-host': 'smtp://r' }, {}, /--smtp-host takes a name/, 64],
    [
      {},
      { ...google, APPENGINE_SMTP_USE_TLS: 'abc' },
      /^APPENGINE_SMTP_USE_TLS takes yes or no and got "abc"$/,
    ],
    [
      {},
      { ...google, APPENGINE_SMTP_OAUTH: '{}' },
      /_PASSWORD and APPENGINE_SMTP_OAUTH: remove one/,
    ],
    [
      { 'smtp-security': 'none' },
      google,
      /none would carry the password to google.example unencrypted/,
    ],
  ];
  for (const [argv, environment, sentence, exitCode = 78] of rows) {
    assert.throws(
      () => relayOf(argv, environment),
      (error: CommandError) => error.exitCode === exitCode && sentence.test(error.message),
      sentence.source,
    );
  }
});

test('--smtp options, their environment, and 78 with a sentence', async (t) => {
  const road = new Road(t);
  const env = { GMAIL_SECRET_KEY: road.key };
  const options = { cwd: road.folder, env, input: '' };
  const args = ['proxy', '--listen', '127.0.0.1:0', '--backend', 'smtp'];
  const { code, stderr } = await appengineMailer(t, args, options).ended;
  assert.equal(code, 78);
  assert.equal(
    stderr,
    'appengine-mailer: the smtp backend needs a relay: --smtp-host, or APPENGINE_SMTP_HOST\n',
  );

  const smtp = await ScriptedSmtp.start(t);
  await road.proxy([], {
    APPENGINE_MAILER_BACKEND: 'smtp',
    APPENGINE_MAILER_SMTP_HOST: '127.0.0.1',
    APPENGINE_MAILER_SMTP_PORT: String(smtp.port),
    APPENGINE_MAILER_SMTP_SECURITY: 'none',
    APPENGINE_MAILER_SMTP_NAME: 'proxy.example.org',
  });
  handIn(road.spool, [{}]);
  assert.equal((await road.drain(['--once']).ended).code, 0);
  assert.equal(smtp.lines[0], 'EHLO proxy.example.org');
  assert.equal(smtp.messages.length, 1);
});

test("--smtp options without --backend smtp are an error, Google's own names alone are not", async (t) => {
  const road = new Road(t);
  const options = { cwd: road.folder, input: '' };
  for (const [args, variables, option, exitCode] of [
    [['--smtp-host', 'r'], {}, '--smtp-host', 64],
    [['--backend', 'discard', '--smtp-security', 'none'], {}, '--smtp-security', 64],
    [[], { APPENGINE_MAILER_SMTP_PORT: '7000' }, 'APPENGINE_MAILER_SMTP_PORT', 78],
  ] as const) {
    const env = { GMAIL_SECRET_KEY: road.key, ...variables };
    const all = ['proxy', '--listen', '127.0.0.1:0', ...args];
    const { code, stderr } = await appengineMailer(t, all, { ...options, env }).ended;
    assert.equal(code, exitCode);
    assert.equal(stderr, `appengine-mailer: ${option} is for --backend smtp\n`);
  }
  await road.proxy([], google);
});

test("the relay's trouble, end to end: the queue waits, uncharged, the journal tells why (law 5, law 10)", async (t) => {
  const road = new Road(t);
  const EHLO = '250-relay.example\n250 AUTH PLAIN';
  const smtp = await ScriptedSmtp.start(t, { EHLO, AUTH: '535 5.7.8 credentials invalid' });
  const at = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  const proxy = await road.proxy(
    ['--backend', 'smtp', ...at, '--smtp-security', 'none', '--smtp-user', 'u'],
    { APPENGINE_SMTP_PASSWORD: 'the-password' },
  );
  handIn(road.spool, [{ recipients: ['a@example.org', 'b@example.org'] }]);
  const { code, stderr } = await road.drain(['--once']).ended;
  assert.equal(code, 69);
  const told = `the relay 127.0.0.1:${smtp.port}: it answered "535 5.7.8 credentials invalid" to AUTH PLAIN`;
  assert.ok(proxy.stderr.includes(`attention: no mail is taken: ${told}`), proxy.stderr);
  assert.ok(stderr.includes('535 5.7.8 credentials invalid'), stderr);
  assert.doesNotMatch(proxy.stderr + stderr, /the-password|dGhlLXBhc3N3b3Jk/);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
    [['queued', 0]],
  );
  smtp.script['AUTH'] = '235 2.7.0 welcome';
  assert.equal((await road.drain(['--once']).ended).code, 0);
  assert.equal(smtp.messages.length, 1);
});
