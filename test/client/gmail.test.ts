import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { account } from '../support/account.ts';
import { appengineMailerAs } from '../support/as-account.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type Script } from '../support/scripted-proxy.ts';
import { stored } from '../support/stored.ts';

const message = 'From: s@example.com\nTo: r@example.org\nBcc: b@example.org\n\n.dot\n..\nend';

test('with TO it makes a message of the text, from the user, and sends it at once', async (t) => {
  const { gmail, scripted } = await start(t);
  const ended = await gmail(['-s', 'Grüße', 'a@example.org', 'B <b@example.org>'], 'Hällo\n.\n');
  assert.deepEqual([ended.code, ended.stdout.toString(), ended.stderr], [0, '', '']);
  const [post] = scripted.posts;
  assert.deepEqual(post?.recipients, ['a@example.org', 'b@example.org']);
  assert.match(post.sender, /^[^@\s]+@[^@\s]+$/);
  const text = post.bytes.toString();
  assert.ok(text.includes(`From: ${post.sender}\n`), text);
  assert.match(text, /^To: a@example.org, B <b@example.org>$/m);
  assert.match(text, /^Subject: =\?UTF-8\?Q\?Gr=C3=BC=C3=9Fe\?=$/m);
  assert.match(text, /^Date: .*[^]*^Content-Type: text\/plain; charset=utf-8$/m);
  assert.match(text, /^Message-ID: <.*>$/m);
  assert.match(text, /\n\n(?:H=C3=A4llo|Hällo)\n\.\n/);
});

test('a TO without @ is not left out without a word', async (t) => {
  const { gmail, scripted } = await start(t);
  await gmail(['a@example.org', 'root', 'B <b@example.org>'], 'x\n');
  assert.deepEqual(scripted.posts[0]?.recipients, ['a@example.org', 'root', 'b@example.org']);
});

// msmtp 1.8.19: an address with a dash at its beginning was taken for an option.
test('what follows -- is TO, also with a dash at its beginning', async (t) => {
  const { gmail, scripted } = await start(t);
  assert.equal((await gmail(['a@example.org', '--', '-b@example.org'], 'x\n')).code, 0);
  assert.deepEqual(scripted.posts[0]?.recipients, ['a@example.org', '-b@example.org']);
  assert.match(String(scripted.posts[0].bytes), /^To: a@example.org, -b@example.org$/m);
});

test('without TO it sends the whole message to whom it names, or to RECIPIENT', async (t) => {
  const { gmail, scripted } = await start(t);
  assert.equal((await gmail([], message)).code, 0);
  assert.equal((await gmail(['--fix-sender'], message, { RECIPIENT: 'x@example.net' })).code, 0);
  assert.deepEqual(
    scripted.posts.map(({ sender, recipients, fixSender }) => [sender, recipients, fixSender]),
    [
      ['s@example.com', ['r@example.org', 'b@example.org'], false],
      ['s@example.com', ['x@example.net'], true],
    ],
  );
  for (const { bytes } of scripted.posts) {
    assert.equal(bytes.toString(), message.replace('Bcc: b@example.org\n', ''));
  }
});

test('names may precede an address, and comments follow it', async (t) => {
  const { gmail, scripted } = await start(t);
  const to = 'Joe a@b.example, "x@y z" b@b.example, (x@y z) c@b.example (C) , <d@b.example>';
  assert.equal((await gmail([], `From: s@example.com\nTo: ${to}; e@b.example\n\nx\n`)).code, 0);
  const sent = ['a', 'b', 'c', 'd', 'e'].map((name) => `${name}@b.example`);
  assert.deepEqual(scripted.posts[0]?.recipients, sent);
});

test('--fix-sender sends what has no From as the default sender', async (t) => {
  const road = new Road(t);
  const setting = { GMAIL_DEFAULT_SENDER: 'Ops <noreply@example.com>' };
  await road.proxy(['--allow-sender', '@example.com'], setting);
  const env = { GMAIL_SECRET_KEY: road.key, GMAIL_PROXY_URL: `http://${road.address}/` };
  const gmail = [inCheckout('dist/bin/gmail.js'), '--fix-sender'];
  for (const from of ['', 'From:\n']) {
    const input = `${from}To: r@example.org\n\nx\n`;
    const { code, stderr } = await run(t, process.execPath, gmail, { env, input });
    assert.equal(code, 0, stderr);
  }
  const fixed = 'From: Ops <noreply@example.com>\nTo: r@example.org\n\nx\n';
  assert.deepEqual(
    road.deliveries().map(({ sender, bytes }) => [sender, bytes.toString()]),
    [1, 2].map(() => ['noreply@example.com', fixed]),
  );
});

interface Case {
  name: string;
  args?: string[];
  input?: string;
  env?: NodeJS.ProcessEnv;
  script?: Script;
  code: number;
  says: RegExp;
}

const refuse =
  (status: string): Script =>
  (post) =>
    post.answer(() => ({ status, reason: 'a reason' }));

for (const { name, args = [], input = message, env = {}, script, code, says } of [
  { name: 'an unknown option', args: ['--nope'], code: 64, says: /nope/ },
  {
    name: 'two subjects',
    args: ['-s', 'x', '-s', 'y'],
    code: 64,
    says: /: --subject is given twice/,
  },
  { name: 'a line end in TO', args: ['a@b\nCc: c@d'], code: 64, says: /TO contains a line end/ },
  {
    name: 'a queue where there is none',
    args: ['--queue'],
    env: { APPENGINE_MAILER_SPOOL: '/nonexistent' },
    code: 78,
    says: /no queue on this host: no folder \/nonexistent/,
  },
  { name: 'a subject for nobody', args: ['-s', 'x'], code: 64, says: /-s/ },
  {
    name: 'a queue that cannot fix senders',
    args: ['--queue', '--fix-sender'],
    code: 64,
    says: /queue/,
  },
  { name: 'a refusal for good', script: refuse('5.1.1'), code: 65, says: /5\.1\.1 a reason/ },
  {
    name: 'an address with words behind it',
    input:
      'From: s@example.com\nTo: "A, B" <a@b.example>,\n c@d.example (a (b) c), b@exa mple.org\n\nx\n',
    code: 65,
    says: /'b@exa mple\.org' is no address/,
  },
  {
    name: 'a TO with words behind its address',
    args: ['a@b.example', 'b@exa mple.org'],
    code: 64,
    says: /'b@exa mple\.org' is not an address/,
  },
  {
    name: 'no sender, and no wish for the default sender',
    input: 'From:\nTo: r@example.org\n\nx\n',
    code: 65,
    says: /no From/,
  },
  { name: 'nobody to send to', input: 'From: s@example.com\n\nx\n', code: 65, says: /nobody/ },
  { name: 'a temporary refusal', script: refuse('4.2.2'), code: 75, says: /4\.2\.2 a reason/ },
  {
    name: 'a proxy that is away',
    env: { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' },
    code: 75,
    says: /cannot be reached/,
  },
  { name: 'no key', env: { GMAIL_SECRET_KEY: '' }, code: 78, says: /GMAIL_SECRET_KEY/ },
] as Case[]) {
  test(`${name}: exit ${code}, and one sentence says why`, async (t) => {
    const { gmail } = await start(t, script);
    const ended = await gmail(args, input, env);
    assert.equal(ended.code, code, ended.stderr);
    assert.match(ended.stderr, /^gmail: [^\n]+\n$/);
    assert.match(ended.stderr, says);
  });
}

test('--queue hands it to exim-pipe, and needs neither key nor proxy', async (t) => {
  const road = new Road(t);
  const gmail = async (args: string[], input: string | Buffer, env: NodeJS.ProcessEnv = {}) =>
    run(t, process.execPath, [inCheckout('dist/bin/gmail.js'), '--queue', ...args], {
      input,
      env: { APPENGINE_MAILER_SPOOL: road.spool, ...env },
    });
  const ended = await gmail([], Buffer.from(`${message}\r.\xff\n`, 'latin1'));
  assert.deepEqual([ended.code, ended.stdout.toString(), ended.stderr], [0, '', '']);
  assert.equal((await gmail(['-s', 'x', 'a@example.org'], 'text\n')).code, 0);
  const smuggled = 'a@example.org>\nRCPT TO:<b@example.org';
  assert.equal((await gmail([], message, { RECIPIENT: smuggled })).code, 65);

  const [whole, text, ...more] = stored(road.spool);
  assert.deepEqual(more, []);
  assert.match(whole?.eximId ?? '', /^gmail-[0-9a-f]{32}$/);
  assert.equal(whole?.sender.toString(), 's@example.com');
  assert.deepEqual(whole.recipients.map(String), ['r@example.org', 'b@example.org']);
  const bytes = message.replace('Bcc: b@example.org\n', '');
  assert.equal(whole.bytes.toString('latin1'), `${bytes}\r.\xff\n`);
  assert.deepEqual(text?.recipients.map(String), ['a@example.org']);
  assert.doesNotMatch(text.bytes.toString(), /\r/);
});

test('a queue that takes nothing is a 75 with its reason', async (t) => {
  const { gmail } = await start(t);
  const ended = await gmail(['--queue'], message, { APPENGINE_MAILER_SPOOL: '/dev/null' });
  assert.equal(ended.code, 75);
  assert.match(ended.stderr, /^gmail: not queued, try again later: [^\n]*\n$/);
});

for (const [what, args] of [
  ['cannot read the key', []],
  ['may not write to the queue', ['--queue']],
] as const) {
  test(`an ordinary user who ${what} is told 77, and what to use`, needs('root'), async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    const secret = join(road.folder, 'GMAIL_SECRET_KEY');
    writeFileSync(secret, 'a key that only root reads\n', { mode: 0o600 });
    chmodSync(road.spool, 0o2770);
    const env = {
      CREDENTIALS_DIRECTORY: road.folder,
      GMAIL_PROXY_URL: 'http://127.0.0.1:1/',
      APPENGINE_MAILER_SPOOL: road.spool,
    };
    const words = [...args, 'a@example.org'];
    const { code, stderr } = await appengineMailerAs(road, { uid, gid }, words, env, 'gmail').ended;
    assert.equal(code, 77, stderr);
    const file = args.length > 0 ? road.spool : secret;
    assert.match(stderr, /^gmail: no permission to [^\n]+: use sendmail or mail, [^\n]+\n$/);
    assert.ok(stderr.includes(file), stderr);
  });
}

async function start(t: TestContext, script: Script = (post) => post.accept()) {
  const scripted = await ScriptedProxy.start(t, 'a secret key', script);
  const settings = { GMAIL_SECRET_KEY: scripted.key, GMAIL_PROXY_URL: scripted.url };
  const gmail = async (args: string[], input: string, env: NodeJS.ProcessEnv = {}) =>
    run(t, process.execPath, [inCheckout('dist/bin/gmail.js'), ...args], {
      input,
      env: { ...settings, ...env },
    });
  return { gmail, scripted };
}
