import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { closedPort } from '../support/closed-port.ts';
import { needs } from '../support/needs.ts';
import { PrivatePostfix } from '../support/private-postfix.ts';
import { appengineMailer } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

interface Found {
  check: string;
  ok: boolean | null;
  text: string;
  todo: string | null;
}

const KEY = 'a secret key of 24 octets';

/** Runs `proxy check --json` for a ledger and a folder of the road; fails if its exit code does not fit. */
async function check(
  road: Road,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Found[]> {
  const places = ['--ledger', join(road.folder, 'ledger.db')];
  const words = ['proxy', 'check', '--json', ...places, ...args];
  const options = { cwd: road.folder, env: { GMAIL_SECRET_KEY: KEY, ...env }, input: '' };
  const { code, stdout, stderr } = await appengineMailer(road.t, words, options).ended;
  const lines = stdout.toString().trimEnd().split('\n');
  const found = lines.map((line) => JSON.parse(line) as Found);
  assert.equal(code, found.some(({ ok }) => ok === false) ? 1 : 0, stderr);
  assert.doesNotMatch(stdout.toString() + stderr, /a secret key|a pass phrase/);
  return found;
}

/** CHECK=ok, CHECK=FAULT and so on. */
const brief = (found: readonly Found[]) =>
  found.map(({ check: name, ok, todo }) => {
    const word = ok === null ? '?' : ok ? (todo === null ? 'ok' : 'NOTE') : 'FAULT';
    return `${name}=${word}`;
  });
const of = (found: readonly Found[], name: string) => found.find((each) => each.check === name);

/** A Postfix that wants a password, and the options with which all is right. */
async function relay(t: TestContext, road: Road) {
  const postfix = await PrivatePostfix.start(t, { passwords: { me: 'a pass phrase' } });
  const caFile = join(road.folder, 'ca.pem');
  writeFileSync(caFile, postfix.ca.join(''));
  const args = (but: Record<string, string> = {}) =>
    Object.entries({
      backend: 'smtp',
      'smtp-host': '127.0.0.1',
      'smtp-port': String(postfix.port),
      'smtp-user': 'me',
      'smtp-ca-file': caFile,
      'smtp-name': 'me.example.org',
      ...but,
    }).flatMap(([name, value]) => (value === '' ? [] : [`--${name}`, value]));
  return { postfix, args };
}

const PASSWORD = { APPENGINE_SMTP_PASSWORD: 'a pass phrase' };

test(
  'proxy check tries connection, TLS, login and goodbye with a real Postfix, and sends nothing',
  needs('postfix', 'root', 'openssl'),
  async (t) => {
    const road = new Road(t);
    const { postfix, args } = await relay(t, road);
    await road.proxy(args(), { ...PASSWORD });
    assert.deepEqual(brief(await check(road, args(), PASSWORD)), [
      'keys=ok',
      'senders=ok',
      'ledger=ok',
      'service=ok',
      'backend=ok',
      'names=ok',
      'connection=ok',
      'tls=ok',
      'login=ok',
      'quit=ok',
    ]);

    const wrong = await check(road, args(), { APPENGINE_SMTP_PASSWORD: 'not that one' });
    assert.deepEqual(brief(wrong).slice(-4), ['connection=ok', 'tls=ok', 'login=FAULT', 'quit=?']);
    assert.match(of(wrong, 'login')?.text ?? '', /it answered "535 5\.7\.8 /);
    assert.match(of(wrong, 'login')?.todo ?? '', /APPENGINE_SMTP_PASSWORD/);

    const untrusted = await check(road, args({ 'smtp-ca-file': '' }), PASSWORD);
    assert.deepEqual(brief(untrusted).slice(-4), [
      'connection=ok',
      'tls=FAULT',
      'login=?',
      'quit=?',
    ]);
    assert.match(of(untrusted, 'tls')?.text ?? '', /self-signed certificate/);
    assert.match(of(untrusted, 'tls')?.todo ?? '', /--smtp-ca-file/);

    const closed = await check(road, args({ 'smtp-port': String(await closedPort()) }), PASSWORD);
    assert.deepEqual(brief(closed).slice(-4), ['connection=FAULT', 'tls=?', 'login=?', 'quit=?']);
    assert.match(of(closed, 'connection')?.text ?? '', /ECONNREFUSED/);

    const implicit = await check(road, args({ 'smtp-security': 'tls' }), PASSWORD);
    assert.deepEqual(brief(implicit).slice(-4), [
      'connection=ok',
      'tls=FAULT',
      'login=?',
      'quit=?',
    ]);
    assert.match(of(implicit, 'tls')?.todo ?? '', /--smtp-security starttls/);

    // The road is still in order, and nothing came before this message.
    await road.pipe('1abc-1', bsmtp('s@example.com', ['a@example.org'], 'only this one\n'));
    await road.drain(['--once']).ended;
    const [mail] = await postfix.mailbox('a', 1);
    assert.match(String(mail), /only this one/);
  },
);

test(
  'proxy check says what to do about a real Postfix without STARTTLS',
  needs('postfix', 'root', 'openssl'),
  async (t) => {
    const road = new Road(t);
    const postfix = await PrivatePostfix.start(t, { tls: false });
    const args = ['--backend', 'smtp', '--smtp-host', '127.0.0.1', '--smtp-port'];
    const found = await check(road, [...args, String(postfix.port)]);
    assert.deepEqual(brief(found).slice(-4), ['connection=ok', 'tls=FAULT', 'login=?', 'quit=?']);
    assert.match(of(found, 'tls')?.text ?? '', /it answered "50\d .*" to STARTTLS/);
    assert.match(of(found, 'tls')?.todo ?? '', /no STARTTLS on this port.*--smtp-security tls/);
    const plain = await check(road, [...args, String(postfix.port), '--smtp-security', 'none']);
    assert.deepEqual(brief(plain).slice(-4), ['connection=ok', 'tls=ok', 'login=ok', 'quit=ok']);
  },
);

test('proxy check tells of a relay that refuses us, and how the proxy calls itself there', async (t) => {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t, { EHLO: '550 5.7.1 who are you', HELO: '550 no' });
  const to = [
    '--smtp-host',
    '127.0.0.1',
    '--smtp-port',
    String(smtp.port),
    '--smtp-security',
    'none',
  ];
  const found = await check(road, ['--backend', 'smtp', ...to, '--smtp-name', 'me.example.org']);
  assert.deepEqual(brief(found).slice(-4), ['connection=FAULT', 'tls=?', 'login=?', 'quit=?']);
  assert.match(of(found, 'connection')?.todo ?? '', /--smtp-name/);
  assert.deepEqual(of(found, 'names')?.ok, true);
});

for (const [answer, text] of [
  ['cut', /: no answer to QUIT$/],
  ['502 5.5.1 not known', /: it answered "502 5\.5\.1 not known" to QUIT$/],
] as const) {
  test(`proxy check tells of a relay that does not end the session in order: ${answer}`, async (t) => {
    const road = new Road(t);
    const smtp = await ScriptedSmtp.start(t, { QUIT: answer });
    const words = `--backend smtp --smtp-host 127.0.0.1 --smtp-port ${smtp.port} --smtp-security none`;
    const found = await check(road, words.split(' '));
    assert.deepEqual(brief(found).slice(-4), ['connection=ok', 'tls=ok', 'login=ok', 'quit=FAULT']);
    assert.match(of(found, 'quit')?.text ?? '', text);
    assert.match(of(found, 'quit')?.todo ?? '', /221/);
  });
}

for (const backend of ['file', 'discard']) {
  test(`proxy check says that with the ${backend} backend nothing leaves the machine`, async (t) => {
    const road = new Road(t);
    const found = await check(road, ['--backend', backend]);
    const { ok, text, todo } = of(found, 'backend') ?? {};
    assert.equal(ok, true);
    assert.match(text ?? '', /^nothing leaves this machine: all mail is (kept in|thrown away)/);
    assert.match(todo ?? '', /APPENGINE_MAILER_BACKEND=smtp/);
  });
}

test('proxy check finds faults of keys, senders, ledger, folder and options', async (t) => {
  const road = new Road(t);
  const short = await check(road, [], { GMAIL_SECRET_KEY: 'short' });
  assert.match(of(short, 'keys')?.text ?? '', /shorter than 16 octets/);
  assert.match(of(await check(road, [], { GMAIL_SECRET_KEY: '' }), 'keys')?.text ?? '', /no key/);
  const sender = of(await check(road, [], { GMAIL_DEFAULT_SENDER: 'nobody' }), 'senders');
  assert.match(sender?.text ?? '', /GMAIL_DEFAULT_SENDER is not valid/);
  const stray = of(await check(road, ['--smtp-host', 'h']), 'backend');
  assert.match(stray?.text ?? '', /--smtp-host is for --backend smtp/);
  const folder = of(await check(road, ['--dir', join(road.folder, 'missing/there')]), 'folder');
  assert.match(folder?.text ?? '', /cannot deliver into .*ENOENT/);
  const api = of(
    await check(road, ['--backend', 'appengine'], {
      API_HOST: '::1',
      API_PORT: String(await closedPort()),
    }),
    'connection',
  );
  assert.match(api?.text ?? '', /API host \[::1\]:\d+ cannot be reached: /);

  const none = of(await check(road), 'ledger');
  assert.match(none?.text ?? '', /there is no .*ledger\.db: the proxy makes it/);
  writeFileSync(join(road.folder, 'ledger.db'), Buffer.alloc(8192, 'x'));
  const damaged = of(await check(road), 'ledger');
  assert.equal(damaged?.ok, false);
  assert.match(damaged?.todo ?? '', /ledger fsck --ledger/);
});

test('law 6: proxy check beside a proxy at work lists nothing as unknown and forgets nothing', async (t) => {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t, { message: 'hang' });
  const to = [
    '--smtp-host',
    '127.0.0.1',
    '--smtp-port',
    String(smtp.port),
    '--smtp-security',
    'none',
  ];
  const args = ['--backend', 'smtp', ...to, '--smtp-name', 'me.example.org'];
  const proxy = await road.proxy(args);
  await road.pipe('1abc-1', bsmtp('s@example.com', ['r@example.org'], 'x\n'));
  const drain = road.drain();
  while (smtp.messages.length === 0 && smtp.said('DATA').length === 0) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  const found = await check(road, args);
  assert.equal(of(found, 'service')?.ok, true);
  assert.match(of(found, 'service')?.text ?? '', /a proxy is at work/);
  const ledger = new Database(join(road.folder, 'ledger.db'), { readonly: true });
  t.after(() => ledger.close());
  assert.deepEqual(ledger.prepare('SELECT state FROM recipient').pluck().all(), ['begun']);
  assert.deepEqual(ledger.prepare('SELECT * FROM unknown').all(), []);
  assert.doesNotMatch(proxy.stderr, /removed or replaced/);
  assert.equal(proxy.child.exitCode, null);
  await drain.stop('SIGKILL');
});
