import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmdirSync } from 'node:fs';
import test from 'node:test';
import { decodeAddress } from '../../src/mail/address.ts';
import { handIn } from '../support/hand-in.ts';
import { inCheckout } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test('control characters, from addresses, subjects or from the proxy, never reach the terminal or the log', async (t) => {
  const road = new Road(t);
  const nasty = '\x1b]0;owned\x07\x1b[2J\u202e\u009b31m';
  const recipient = decodeAddress(Buffer.from('\x1b[31m\xffx@example.org', 'latin1'));
  const [id = ''] = handIn(road.spool, [
    {
      sender: `${nasty}@example.com`,
      recipients: [recipient],
      bytes: `Subject: ${nasty}\x07\n \x1b[1mfolded\n\nx\n`,
    },
    { sender: `s@${nasty}.example`, recipients: [`r@${nasty}.example`] },
  ]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.2.2', reason: `full\n${nasty}` })),
  );
  const { stderr } = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  const texts = [stderr];
  const shown = new Map<string, string>();
  for (const args of [
    ['list'],
    ['show', id],
    ['explain', id],
    ['stats'],
    ['top', '--once'],
    ['shape'],
    ['shape', '--senders'],
    ['report'],
    ['report', '--html'],
    ['metrics'],
    ['show', `no${nasty}`],
    ['explain', `no${nasty}`],
    ['hold', `no${nasty}`],
  ]) {
    const ended = await road.queue(...args);
    texts.push(ended.stdout.toString(), ended.stderr);
    shown.set(args.join(' '), ended.stdout.toString());
  }
  for (const text of texts) {
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(text, /[\0-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  }
  assert.match(texts.join('\n'), /\\x1b\[31m\\xffx@example\.org/, 'shown, octet by octet');
  const subjects = texts.filter((text) => text.includes('\\x07 \\x1b[1mfolded'));
  assert.equal(subjects.length, 2, 'show and explain have the subject');
  for (const view of ['shape', 'shape --senders', 'report', 'report --html']) {
    assert.match(shown.get(view) ?? '', /\\x1b/, `${view} shows it escaped`);
  }
  const [message] = await road.messages();
  const listed = (message ?? {})['recipients'] as { address: string }[];
  assert.equal(listed[0]?.address, recipient, 'JSON has it as it is');
});

test('queue list | head -1: a reader that goes away is no fault', async (t) => {
  const road = new Road(t);
  handIn(
    road.spool,
    Array.from({ length: 500 }, () => ({ recipients: ['a@example.org', 'b@example.org'] })),
  );
  const command = `'${process.execPath}' '${inCheckout('dist/bin/appengine-mailer.js')}' queue list --spool '${road.spool}' | head -1; echo "\${PIPESTATUS[@]}"`;
  const shell = spawn('bash', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  shell.stdout.on('data', (piece: Buffer) => out.push(piece));
  shell.stderr.on('data', (piece: Buffer) => err.push(piece));
  await once(shell, 'close');
  assert.match(Buffer.concat(out).toString(), /^[0-9a-f]{32} {2}queued.*\n0 0\n$/);
  assert.equal(Buffer.concat(err).toString(), '');
});

test('a list longer than any pipe holds is printed to its end, also for a slow reader', async (t) => {
  const road = new Road(t);
  const ids = handIn(
    road.spool,
    Array.from({ length: 600 }, () => ({})),
  );
  const args = [
    inCheckout('dist/bin/appengine-mailer.js'),
    'queue',
    '--json',
    '--spool',
    road.spool,
  ];
  const lister = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => lister.kill('SIGKILL'));
  // Nothing is read at first: it ends, if it does not wait for its reader.
  await Promise.race([once(lister, 'exit'), new Promise((resolve) => setTimeout(resolve, 2000))]);
  const pieces: Buffer[] = [];
  lister.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  await once(lister, 'close');
  const listed = Buffer.concat(pieces).toString().trimEnd().split('\n');
  assert.deepEqual(
    listed.map((line) => (JSON.parse(line) as { id: string }).id),
    ids,
  );
});

test('usage is 64, an unknown id 1, a spool that is missing 74, and nothing is made there', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  for (const args of [
    ['--state', 'lost'],
    ['--older-than', 'yesterday'],
    ['show'],
    ['retry'],
    ['frobnicate'],
    ['--sender'],
    ['stats', '--max-age', '1h', '--max-age', '2h'],
    ['hold', '--all', 'x'],
    ['show', 'x', '--raw', '--json'],
  ]) {
    const { code, stderr } = await road.queue(...args);
    assert.equal(code, 64, `${args.join(' ')}: ${stderr}`);
    assert.doesNotMatch(stderr, /defect|at .*:\d+:\d+/);
  }
  for (const args of [
    ['show', 'x'],
    ['retry', 'x'],
  ]) {
    const { code, stderr } = await road.queue(...args);
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, /no message/);
  }
  const empty = new Road(t);
  assert.equal((await empty.queue('list')).code, 74);
  assert.deepEqual(readdirSync(empty.spool), []);
  rmdirSync(empty.spool);
  assert.equal((await empty.queue('stats', '--json')).code, 74);
});

test('queue list says what all the mail waits for: drain, the proxy, or its own time', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const listed = async () => (await road.queue('list')).stdout.toString();
  assert.match(await listed(), /^\w+ {2}queued, waits for drain, which is not running\n/);

  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.2.2', reason: 'full' })),
  );
  const env = { GMAIL_PROXY_URL: proxy.url };
  const drain = road.drain([], env);
  await drain.says(/deferred \(4\.2\.2 full\)/);
  assert.match(await listed(), /^\w+ {2}queued, next attempt in \d+ s\n.*, 1 attempt, from/);
  await drain.stop();

  await road.drain().says(/is down/);
  await road.queue('retry', '--all');
  assert.match(await listed(), /^\w+ {2}queued, waits for the proxy\n/);
});
