import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import Database, { binaryFile } from '../../src/sqlite/better-sqlite3.ts';
import { needs } from '../support/needs.ts';
import { PrivateExim } from '../support/private-exim.ts';
import { inCheckout, start } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';

const sender = 'someone@host.example';
const recipients = ['one@a.example', 'two@b.example'];

/** Larger than a pipe holds, so that Exim is still writing while the pipe's program is at work. */
const large = `Subject: test\n\n${`${'x'.repeat(70)}\n`.repeat(20_000)}`;

interface Trouble {
  what: string;
  /** What Exim's log says of it, in one line. */
  reason: RegExp;
  /** Makes the trouble and returns what ends it. */
  spoil: (exim: PrivateExim, file: string) => () => void | Promise<void>;
  message?: string;
  /** Exim freezes the message when a signal ends what it started: nobody was left to say 75. */
  freezes?: true;
  /** The message was committed all the same. */
  committed?: true;
}

const troubles: Trouble[] = [
  {
    what: 'the spool is locked for longer than anybody waits',
    reason: said('another program has been writing to the spool for 20 s \\(database is locked\\)'),
    spoil: (_exim, file) => {
      const other = new Database(file);
      other.exec('BEGIN IMMEDIATE');
      return () => other.close();
    },
  },
  {
    what: 'the folder of the spool is missing',
    reason: said('the folder of the spool is missing \\(.*\\)\\. To do: .*'),
    spoil: (exim) => {
      rmSync(exim.road.spool, { recursive: true });
      return () => exim.giveSpool();
    },
  },
  {
    what: 'the folder of the spool is not to be written',
    reason: said("EACCES: permission denied, open '.*spool.db'"),
    spoil: (exim) => {
      rmSync(exim.road.spool, { recursive: true });
      exim.giveSpool();
      chownSync(exim.road.spool, 0, 0);
      chmodSync(exim.road.spool, 0o555);
      return () => exim.giveSpool();
    },
  },
  {
    what: 'the spool is garbage',
    reason: said('file is not a database'),
    spoil: (_exim, file) => overwrite(file, (size) => randomBytes(size)),
  },
  {
    what: 'the spool is damaged behind its header',
    reason: said('database disk image is malformed'),
    spoil: (_exim, file) =>
      overwrite(file, (size, old) =>
        Buffer.concat([old.subarray(0, 100), randomBytes(size - 100)]),
      ),
  },
  {
    what: 'the spool is of a newer version',
    reason: said('the spool .* has schema 99 and .* newer appengine-mailer; .*'),
    spoil: (_exim, file) => {
      const version = Number(pragma(file, 'user_version'));
      pragma(file, 'user_version = 99');
      return () => pragma(file, `user_version = ${version}`);
    },
  },
  {
    what: 'the message is over the limit',
    reason: said('the message is larger than the limit of 99 bytes. To do: exim4 -Mg .*'),
    spoil: (exim) => launch(exim, 'export APPENGINE_MAILER_MAX_SIZE=99'),
  },
  {
    what: 'Node is missing',
    reason: died('127: .*node: not found'),
    spoil: (exim) => launch(exim, 'PATH=/nonexistent'),
  },
  {
    what: 'Node gets too little memory to start',
    reason: died('1[0-9][0-9]: .*[a-z]+.*'),
    spoil: (exim) => launch(exim, 'ulimit -v 200000'),
  },
  {
    what: 'Node is killed while it reads',
    reason: died('137.*'),
    message: large,
    spoil: (exim) => inNode(exim, `require('node:fs').readSync = die`),
  },
  {
    what: 'Node is killed after the commit',
    reason: died('137.*'),
    committed: true,
    spoil: (exim) => inNode(exim, `process.once('exit', die)`),
  },
  {
    what: 'the native module is not for this Node',
    reason: said('.*cannot load .*better-sqlite3.*\\.node, which is built for another: .*'),
    spoil: (exim) => {
      const copy = join(exim.folder, 'copy');
      cpSync(inCheckout('exim'), join(copy, 'exim'), { recursive: true });
      cpSync(inCheckout('dist/exim-pipe.cjs'), join(copy, 'dist', 'exim-pipe.cjs'));
      cpSync(inCheckout('package.json'), join(copy, 'node_modules', binaryFile));
      exim.launch('', join(copy, 'exim', 'exim-pipe'));
      return () => exim.launch();
    },
  },
  {
    what: 'the bundle is missing',
    reason: died("1: .*Cannot find module '.*exim-pipe.cjs'.*"),
    spoil: (exim) => {
      const copy = join(exim.folder, 'copy');
      cpSync(inCheckout('exim'), copy, { recursive: true });
      exim.launch('', join(copy, 'exim-pipe'));
      return () => exim.launch();
    },
  },
  {
    what: 'what the transport runs is not executable',
    reason: /returned 127 \(could mean unable to exec or command does not exist\)/,
    spoil: (exim) => {
      exim.install('#!/bin/sh\n', 0o644);
      return () => exim.launch();
    },
  },
  {
    what: 'exim-pipe is killed by its name, launcher and all',
    reason: /transport output: Killed$/,
    spoil: (exim) => {
      const pattern = `exim-pipe.* --spool ${exim.road.spool}`;
      const kill = `require('node:child_process').spawnSync('pkill', ['-KILL', '-f', '${pattern}'])`;
      return inNode(exim, kill);
    },
  },
  {
    what: 'what Exim itself started is killed, by its number',
    reason: /was terminated by signal 9 \(Killed\)/,
    freezes: true,
    spoil: (exim) => launch(exim, 'kill -KILL $$'),
  },
  {
    what: "Exim's transport is killed while it writes",
    reason: /pipe transport process returned non-zero status 0x0009: terminated by signal 9/,
    message: large,
    spoil: (exim) => {
      // The program outlives the transport, and nobody of Exim's is left to hear it.
      const fifo = join(exim.folder, 'fifo');
      spawnSync('mkfifo', ['-m', '666', fifo]);
      const heard = start(exim.road.t, 'cat', [fifo]);
      exim.launch(`kill -KILL $PPID\nexec >'${fifo}' 2>&1`);
      return async () => {
        const { stdout } = await heard.ended;
        assert.match(stdout.toString(), /^not queued.*: the message was cut short\n$/);
        exim.launch();
      };
    },
  },
  {
    what: 'the account of the pipe is missing',
    reason: /defer \(-28\): Failed to find group "nobody-has-this-name"/,
    spoil: (exim) => {
      exim.configure({ user: 'nobody-has-this-name' });
      return () => exim.configure();
    },
  },
];

// Two at a time: one of them only waits.
suite(
  'Exim keeps its message, tells why, and hands it over once when the trouble is over',
  {
    concurrency: 2,
  },
  () => {
    for (const { what, reason, spoil, message, freezes, committed } of troubles) {
      test(`law 1, law 2: ${what}`, needs('exim4', 'root'), async (t) => {
        const road = new Road(t);
        const exim = new PrivateExim(road);
        await road.pipe('seed', bsmtp('', ['seed@x.example'], 'makes the spool\n'));
        const taken = () => stored(road.spool).filter(({ eximId }) => eximId !== 'seed');

        const repair = spoil(exim, join(road.spool, 'spool.db'));
        const id = await exim.send(sender, recipients, message);
        assertKept(exim, id, reason, freezes);
        assert.equal(await exim.queued(), 1);

        await repair();
        assert.equal(taken().length, committed ? 1 : 0, 'stored in spite of the trouble');
        await exim.runQueue();
        assert.equal(await exim.queued(), 0);
        assert.equal(exim.mailbox(), '');
        assert.deepEqual(
          taken().map(({ eximId, recipients: found }) => [eximId, found.map(String)]),
          [[id, recipients]],
        );
      });
    }
  },
);

/** No recipient bounced, nobody got mail about it, nothing is frozen, and the log has the reason. */
function assertKept(exim: PrivateExim, id: string, reason: RegExp, freezes = false): void {
  const log = exim.mainlog();
  const has = (pattern: RegExp) => log.filter((line) => pattern.test(line)).length;
  assert.equal(has(new RegExp(`^${id} == `)), recipients.length, 'each recipient is deferred');
  assert.equal(has(/ \*\* /), 0, 'a recipient bounced');
  assert.equal(has(/ <= <>/), 0, 'a bounce was written');
  assert.equal(has(/ [=-]> /), 0, 'a recipient counts as delivered');
  assert.equal(has(/ Frozen/), freezes ? 1 : 0);
  assert.equal(exim.mailbox(), '');
  assert.notEqual(has(reason), 0, `no line has the reason:\n${log.join('\n')}`);
}

test('what takes too long is deferred and not returned', needs('exim4', 'root'), async (t) => {
  const exim = new PrivateExim(new Road(t));
  // Two minutes are too long for a test: this is how Exim itself reads the shipped transport.
  const { stdout } = await exim.exim(['-bP', 'transport', 'appengine_mailer_pipe']);
  const options = stdout.toString().split('\n');
  for (const option of ['timeout_defer', 'timeout = 2m', 'temp_errors = *', 'freeze_signal']) {
    assert.ok(options.includes(option), `${option} is missing:\n${stdout.toString()}`);
  }
});

/** The line of Exim's log that has what exim-pipe printed. */
function said(reason: string): RegExp {
  return new RegExp(`transport output: not queued, try again later: ${reason}$`);
}

/** The same where Node did not get so far. */
function died(statusAndWords: string): RegExp {
  const program = '.*exim-pipe.cjs';
  return new RegExp(
    `transport output: try again later, ${program} ended with status ${statusAndWords}$`,
  );
}

function launch(exim: PrivateExim, before: string): () => void {
  exim.launch(before);
  return () => exim.launch();
}

/** Has Node run a line before the program, that may call die(). */
function inNode(exim: PrivateExim, line: string): () => void {
  const file = join(exim.folder, 'before.cjs');
  writeFileSync(file, `const die = () => process.kill(process.pid, 'SIGKILL');\n${line};\n`);
  return launch(exim, `export NODE_OPTIONS='--require ${file}'`);
}

function overwrite(file: string, content: (size: number, old: Buffer) => Buffer): () => void {
  const old = readFileSync(file);
  writeFileSync(file, content(old.length, old));
  return () => writeFileSync(file, old);
}

function pragma(file: string, text: string): unknown {
  const db = new Database(file);
  try {
    return db.pragma(text, { simple: true });
  } finally {
    db.close();
  }
}
