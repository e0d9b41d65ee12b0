import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { limits } from '../../src/limits.ts';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer, inCheckout, start, type Ended } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

/** It changes the terminal, ends the line, begins one with a priority, turns round what follows, and is long. */
const HOSTILE = `\x1b]0;owned\x07\n<2>forged \r\x9b31m\u202egpj.exe\u2066\u200b\ufeff${'A'.repeat(150_000)}`;
const SHOWN = String.raw`\x1b]0;owned\x07\x0a<2>forged \x0d\x9b31m\u{202e}gpj.exe\u{2066}\u{200b}\u{feff}AAA`;
const UNFIT = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

/** Each line must be harmless, one of ours and no longer than it may be; what is hostile is shown all the same. */
function assertHarmless({ stdout, stderr }: Pick<Ended, 'stdout' | 'stderr'>, what: string): void {
  const lines = `${stdout.toString()}\n${stderr}`.split('\n');
  for (const line of lines) {
    assert.doesNotMatch(line, UNFIT, what);
    assert.doesNotMatch(line, /^<\d/, what);
    // JSON has values whole.
    if (!line.startsWith('{'))
      assert.ok(line.length <= limits.lineChars, `${what}: ${line.length}`);
  }
}

/** A spool with three messages that somebody with access to the file has written into: the ids by which they can be named. */
function manipulatedSpool(road: Road): string[] {
  const mails = Array.from({ length: 3 }, (_, nth) => ({ recipients: [`${nth}@example.org`] }));
  const [, second = '', third = ''] = handIn(road.spool, mails);
  const db = new Database(join(road.spool, 'spool.db'));
  db.pragma('ignore_check_constraints = ON');
  db.exec('DROP TRIGGER message_moved');
  const { exim_id: first } = db.prepare('SELECT exim_id FROM message').get() as { exim_id: string };
  const set = (sql: string) => db.prepare(sql).run({ text: HOSTILE });
  set('UPDATE message SET id = :text WHERE seq = 1');
  set('UPDATE message SET exim_id = :text WHERE seq = 2');
  set('UPDATE message SET state = :text WHERE seq = 3');
  set('UPDATE message SET sender = CAST(:text AS BLOB), last_status = :text, last_reason = :text');
  set(
    'UPDATE recipient SET address = CAST(:text AS BLOB), state = :text, status = :text, reason = :text WHERE message > 1',
  );
  set(`INSERT INTO history SELECT seq, 1, 0, 'attempt', :text, :text FROM message`);
  set(`INSERT INTO history SELECT seq, 2, 0, :text, :text, :text FROM message`);
  set('UPDATE endpoint SET down_since = 0, reason = :text');
  db.close();
  return [first, second, third];
}

test('a member of the group who writes into the spool reaches no terminal: every command prints harmless lines', async (t) => {
  const road = new Road(t);
  const names = manipulatedSpool(road);
  const commands = [
    ...[[], ['--state', 'all'], ['--json'], ['--state', 'all', '--json']].map((args) => [
      'list',
      ...args,
    ]),
    ...names.flatMap((name) =>
      ['show', 'explain'].flatMap((verb) => [
        [verb, name],
        [verb, name, '--json'],
      ]),
    ),
    ['stats'],
    ['stats', '--json'],
    ['stats', '--max-age', '0s'],
    ...names.flatMap((name) => ['retry', 'hold', 'release', 'bounce'].map((verb) => [verb, name])),
    ['fsck', '--check'],
    ['fsck'],
    ['delete', '--all'],
  ];
  let all = '';
  for (const args of commands) {
    const ended = await road.queue(...args);
    assertHarmless(ended, args.join(' '));
    all += `${args.join(' ')}: ${ended.code}\n${ended.stdout.toString()}${ended.stderr}\n`;
  }
  assert.ok(all.split(SHOWN).length > 10, 'what is hostile is shown');
});

test('drain and check, on such a spool, write harmless lines', async (t) => {
  const road = new Road(t);
  manipulatedSpool(road);
  const env = {
    APPENGINE_MAILER_SPOOL: road.spool,
    GMAIL_PROXY_URL: 'http://127.0.0.1:1/',
    GMAIL_SECRET_KEY: HOSTILE.slice(0, 1000),
  };
  for (const args of [['check'], ['check', '--json'], ['drain', '--once']]) {
    assertHarmless(await appengineMailer(t, args, { env, input: '' }).ended, args.join(' '));
  }
});

test('JSON says what the spool has, letter by letter', async (t) => {
  const road = new Road(t);
  const [, second = ''] = manipulatedSpool(road);
  const { stdout } = await road.queue('explain', second, '--json');
  const { exim_id, sender, recipients, proxy_reason } = JSON.parse(stdout.toString()) as {
    [field: string]: unknown;
    recipients: object[];
  };
  assert.deepEqual([exim_id, sender, proxy_reason], [HOSTILE, HOSTILE, HOSTILE]);
  assert.deepEqual(recipients[0], {
    address: HOSTILE,
    state: HOSTILE,
    status: HOSTILE,
    reason: HOSTILE,
  });
});

test('--raw is for the bytes as they are', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{ bytes: `Subject: ${HOSTILE}` }]);
  assert.equal((await road.queue('show', id, '--raw')).stdout.toString(), `Subject: ${HOSTILE}`);
});

test('the answer of an Exim that does not take a message back is shown, and not as a line of its own', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{}, {}]);
  const exim = join(road.folder, 'exim4');
  writeFileSync(join(road.folder, 'said'), HOSTILE.replace('\n', ''));
  for (const script of [
    // It refuses, on either output; and it is no Exim at all.
    `[ "$1" = -bt ] && { echo '> a@b'; exit 0; }; cat '${road.folder}/said'; exit 1`,
    `[ "$1" = -bt ] && { echo '> a@b'; exit 0; }; cat '${road.folder}/said' >&2; exit 1`,
    `cat '${road.folder}/said'; exit 1`,
    `printf '> %s\\n  router = appengine_mailer\\n' "$(cat '${road.folder}/said')"`,
  ]) {
    writeFileSync(exim, `#!/bin/sh\n${script}\n`);
    chmodSync(exim, 0o755);
    const ended = await road.queue('return', id, '--exim', exim);
    assert.ok([75, 78].includes(ended.code ?? 0), ended.stderr);
    assertHarmless(ended, script);
    const explained = await road.queue('explain', id);
    assertHarmless(explained, script);
    const said = `${ended.stderr}${explained.stdout.toString()}`;
    assert.ok(said.includes(String.raw`\x1b]0;owned`), said);
  }
});

test('the reply of a relay is shown in the journal of proxy and drain, and not as a line of its own', async (t) => {
  const reply = HOSTILE.replaceAll(/[\r\n]/g, '').slice(0, 400);
  const relay = await ScriptedSmtp.start(t, { RCPT: `550 5.1.1 ${reply}` });
  const road = new Road(t);
  const smtp = ['--backend', 'smtp', '--smtp-host', '127.0.0.1', '--smtp-port', `${relay.port}`];
  const proxy = await road.proxy([...smtp, '--smtp-security', 'none']);
  handIn(road.spool, [{}]);
  const drain = road.drain(['--once']);
  assertHarmless(await drain.ended, 'drain');
  const stopped = await proxy.stop();
  assertHarmless(stopped, 'proxy');
  for (const { stderr } of [drain, proxy]) assert.ok(stderr.includes(String.raw`\x1b]0;owned`));
});

test('a sender that looks like a priority is none: no line of the journal on standard error begins with it', async (t) => {
  const road = new Road(t);
  await road.proxy();
  // The file backend refuses an address without a domain.
  handIn(road.spool, [{ sender: '2', recipients: ['none'] }]);
  const drain = road.drain();
  await drain.says(/2> cannot be told of <none>/);
  assertHarmless(await drain.stop(), 'drain');
});

test('a defect that nobody catches ends the program with one line, whatever is in its message', async (t) => {
  const road = new Road(t);
  const throws = `process.on('SIGUSR2', () => { throw new Error(${JSON.stringify(HOSTILE)}) })`;
  const defect = join(road.folder, 'defect.mjs');
  writeFileSync(defect, throws);
  const program = inCheckout('dist/bin/appengine-mailer.js');
  const args = [
    '--import',
    defect,
    program,
    'proxy',
    '--listen',
    '127.0.0.1:0',
    '--backend',
    'discard',
  ];
  const env = { GMAIL_SECRET_KEY: road.key };
  const proxy = start(t, process.execPath, args, { cwd: road.folder, env });
  await proxy.says(/proxy listens on /);
  const ended = await proxy.stop('SIGUSR2');
  assertHarmless(ended, 'defect');
  assert.equal(ended.code, 70);
  assert.match(ended.stderr, /^appengine-mailer: defect: Error: \\x1b/m);
});

/** Who writes to standard output or error, and why it needs no other function for it. */
const WRITERS = {
  'cli/print.ts': 'what commands print',
  'host/stderr-line.ts': 'the journal off systemd, and how a command failed',
  'bin/exim-pipe.ts':
    'one line, made printable by exim-pipe; loads nothing before its signals are set',
  'cli/queue/top.ts': 'one screen, whose texts are made printable by queue top',
  'host/progress.ts': 'progress on a terminal: numbers and words of its own',
  'bin/demo.ts': 'the demonstration, of its own mail',
  'bin/build-appengine.ts': 'a tool of the checkout',
};

test('nothing else of ours writes to a terminal or to the journal', () => {
  const sources = readdirSync(inCheckout('src'), { recursive: true, encoding: 'utf8' });
  const writers = sources
    .filter((path) => /\.m?ts$|\.mjs$/.test(path))
    .filter((path) =>
      /console\.|std(?:out|err)\.write\((?!'')|writeSync\([12],/.test(
        readFileSync(inCheckout(`src/${path}`), 'utf8'),
      ),
    );
  assert.deepEqual(writers.toSorted(), Object.keys(WRITERS).toSorted());
});
