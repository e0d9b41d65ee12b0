import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { limits } from '../../src/limits.ts';
import { account } from '../support/account.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run, type Ended } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';

const launcher = inCheckout('exim/exim-pipe');
const recipients = ['one@a.example', 'two@b.example'];
const message = 'Subject: test\n\ntest\n';
const whole = bsmtp('s@x.example', recipients, message).toString();

/** Streams that are not one whole message. */
const streams: [what: string, input: string, reason: RegExp][] = [
  ['nothing at all', '', /the input ends before the closing dot/],
  ['a cut in the envelope', whole.slice(0, 30), /the input ends before the closing dot/],
  ['an envelope alone', whole.slice(0, whole.indexOf('DATA')), /the input ends before the closing/],
  [
    'a cut before the message',
    `${whole.split('DATA\n')[0]}DATA\n`,
    /the input ends before the clo/,
  ],
  ['a cut in a line', whole.slice(0, -10), /the input ends before the closing dot/],
  [
    'a message without its closing dot',
    whole.slice(0, -2),
    /the input ends before the closing dot/,
  ],
  [
    'a closing dot without its line end',
    whole.slice(0, -1),
    /the input ends before the closing dot/,
  ],
  [
    'a doubled dot at the end',
    `${whole.slice(0, -2)}..\n`,
    /the input ends before the closing dot/,
  ],
  ['a second message', whole + whole, /something after the closing dot/],
  ['one octet too many', `${whole}\n`, /something after the closing dot/],
  ['no recipient', bsmtp('s@x.example', [], message).toString(), /there is no recipient/],
  ['no sender', whole.replace(/^.*\n/, ''), /expected MAIL FROM:</],
  ['a greeting', `EHLO host\n${whole}`, /expected MAIL FROM:</],
  ['parameters', whole.replace('>\n', '> SIZE=10\n'), /parameters are not supported/],
  ['a plain message', message, /expected MAIL FROM:</],
  [
    'more recipients than fit, with what to do',
    bsmtp('', numbered(limits.handOverRecipients + 1), message).toString(),
    /more than 10000 recipients in one hand-over\. To do: set batch_max = 1000 in Exim's transport/,
  ],
  [
    'a longer line than fits, with what to do',
    bsmtp('', ['x'.repeat(limits.envelopeLineBytes)], message).toString(),
    /over 65536 octets long, [^\n]*To do: exim4 -Mg/,
  ],
];

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, number) => `${number}@a.example`);
}

/** Arguments and environments that cannot be meant. */
const calls: [what: string, args: string[], env: NodeJS.ProcessEnv, reason: RegExp][] = [
  ['no Exim id', [], {}, /expected one Exim id and got ""/],
  ['an empty Exim id', [''], {}, /expected one Exim id/],
  ['two Exim ids', ['1abc', '1abd'], {}, /expected one Exim id and got "1abc 1abd"/],
  ['an Exim id with a slash', ['../1abc'], {}, /expected one Exim id and got "..\/1abc"/],
  ['an Exim id with a line end', ['1abc\n'], {}, /expected one Exim id and got "1abc\\n"/],
  ['an Exim id beyond ASCII', ['1äbc'], {}, /expected one Exim id/],
  ['an Exim id of 65 characters', ['1'.repeat(65)], {}, /expected one Exim id/],
  ['an unknown option', ['1abc', '--sppol=x'], {}, /Unknown option '--sppol'/],
  [
    'a message over --max-size',
    ['1abc', '--max-size', '19'],
    {},
    /larger than the limit of 19 bytes/,
  ],
  [
    'a message over APPENGINE_MAILER_MAX_SIZE',
    ['1abc'],
    { APPENGINE_MAILER_MAX_SIZE: '19' },
    /larger than the limit of 19 bytes/,
  ],
  [
    'a limit that is no number',
    ['1abc', '--max-size', '1M'],
    {},
    /--max-size takes 1 to \d+ bytes/,
  ],
  ['a limit above the highest', ['1abc', '--max-size', '104857601'], {}, /--max-size takes 1 to/],
];

suite('law 1: 75, one line that says why, and nothing stored', { concurrency: 2 }, () => {
  test('for a stream that is not one whole message', async (t) => {
    const road = await seeded(t);
    for (const [what, input, reason] of streams) {
      await t.test(what, async () => {
        assertRefused(await road.pipe('1abc', input), reason);
        assertOnlySeed(road);
      });
    }
  });

  test('for a call that cannot be meant, and for a message over the limit', async (t) => {
    const road = await seeded(t);
    for (const [what, args, env, reason] of calls) {
      await t.test(what, async () => {
        const words = ['--spool', road.spool, ...args];
        assertRefused(await run(t, launcher, words, { input: whole, env }), reason);
        assertOnlySeed(road);
      });
    }
  });

  test('for every death of Node: 75 as well, so that Exim never decides', async (t) => {
    const road = await seeded(t);
    const preload = join(road.folder, 'preload.cjs');
    writeFileSync(preload, `process.kill(process.pid, process.env.BY)`);
    const NODE_OPTIONS = `--require ${preload}`;
    const deaths: [NodeJS.ProcessEnv, RegExp][] = [
      [{ PATH: '/nonexistent' }, /ended with status 127: .*node/],
      [{ NODE_OPTIONS: '--no-such-option' }, /ended with status 9: .*--no-such-option/],
      [
        { NODE_OPTIONS: `--require ${road.folder}/none` },
        /ended with status 1: .*Cannot find module/,
      ],
      [{ NODE_OPTIONS, BY: 'SIGKILL' }, /ended with status 137:/],
      [{ NODE_OPTIONS, BY: 'SIGSEGV' }, /ended with status 139:/],
      [{ NODE_OPTIONS, BY: 'SIGABRT' }, /ended with status 134:/],
    ];
    for (const [env, reason] of deaths) {
      await t.test(String(reason), async () => {
        const { code, stdout, stderr } = await road.pipe('1abc', whole, env);
        assert.deepEqual({ code, stderr }, { code: 75, stderr: '' });
        assert.match(stdout.toString(), /^try again later, \S*exim-pipe.cjs ended [^\n]*\n$/);
        assert.match(stdout.toString(), reason);
        assertOnlySeed(road);
      });
    }
  });

  test('for a folder that is missing; it is not made', async (t) => {
    const road = new Road(t);
    const missing = join(road.folder, 'missing');
    const args = ['1abc', '--spool', missing];
    assertRefused(
      await run(t, launcher, args, { input: whole }),
      /the folder of the spool is missing \(.*missing\)/,
    );
    assert.equal(existsSync(missing), false);
  });

  test('for a spool that may only be read', needs('root'), async (t) => {
    const road = await seeded(t);
    chmodSync(road.folder, 0o755);
    chmodSync(road.spool, 0o555);
    chmodSync(join(road.spool, 'spool.db'), 0o444);
    const theirs = account();
    const line = theirs.command(theirs.launcher, '1abc', '--spool', road.spool);
    assertRefused(await run(t, ...line, { input: whole }), /readonly database|unable to open/);
    assertOnlySeed(road);
  });

  test('for a spool that is not a file of its own', async (t) => {
    const road = await seeded(t);
    const file = join(road.spool, 'spool.db');
    const other = join(road.folder, 'other');
    mkdirSync(other);
    symlinkSync(file, join(other, 'spool.db'));
    const args = ['1abc', '--spool', other];
    assertRefused(await run(t, launcher, args, { input: whole }), /is not a regular file/);
    assertOnlySeed(road);
  });

  test('for a spool that is damaged; it is left as it is', async (t) => {
    const road = await seeded(t);
    const file = join(road.spool, 'spool.db');
    const damaged = readFileSync(file).fill('garbage ');
    writeFileSync(file, damaged);
    assertRefused(await road.pipe('1abc', whole), /file is not a database/);
    assert.ok(readFileSync(file).equals(damaged));
  });

  test('for a spool of a newer schema; it is left as it is', async (t) => {
    const road = await seeded(t);
    const db = new Database(join(road.spool, 'spool.db'));
    const version = Number(db.pragma('user_version', { simple: true }));
    db.pragma('user_version = 99');
    db.close();
    assertRefused(
      await road.pipe('1abc', whole),
      new RegExp(`has schema 99 and this program knows schemas up to ${version}: .* newer`),
    );
    assertOnlySeed(road);
  });
});

/** A road that has one message, from before. */
async function seeded(t: TestContext): Promise<Road> {
  const road = new Road(t);
  const { code } = await road.pipe('seed', bsmtp('', ['seed@x.example'], message));
  assert.equal(code, 0);
  return road;
}

function assertRefused({ code, stdout, stderr }: Ended, reason: RegExp): void {
  assert.deepEqual({ code, stderr }, { code: 75, stderr: '' }, stdout.toString());
  assert.match(stdout.toString(), /^not queued, try again later: [^\n]+\n$/);
  assert.match(stdout.toString(), reason);
}

function assertOnlySeed(road: Road): void {
  assert.deepEqual(
    stored(road.spool).map(({ eximId }) => eximId),
    ['seed'],
  );
}
