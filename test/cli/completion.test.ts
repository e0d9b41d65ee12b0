import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer, inCheckout, run } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

/** What bash offers for a line whose last word is being typed; its other words are whole. */
async function offered(t: TestContext, ...words: string[]): Promise<string[]> {
  const folder = scratch(t);
  for (const program of ['appengine-mailer', 'gmail']) {
    symlinkSync(inCheckout(`dist/bin/${program}.js`), join(folder, program));
  }
  const printed = await appengineMailer(t, ['completion'], { input: '' }).ended;
  assert.equal(printed.code, 0, printed.stderr);
  writeFileSync(join(folder, 'script'), printed.stdout);
  // As bash calls it: the line in COMP_WORDS; the command, the word and the one before as arguments.
  const ask = `set -eu
    source script
    [ "$(complete -p "$1")" = "complete -o bashdefault -o default -F _appengine_mailer $1" ]
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _appengine_mailer "$1" "\${@: -1}" "\${@: -2:1}"
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const path = `${folder}:/usr/local/bin:/usr/bin:/bin`;
  const args = ['--norc', '-c', ask, 'bash', ...words];
  const ended = await run(t, '/bin/bash', args, {
    cwd: folder,
    env: { PATH: path, SHELL: '/bin/zsh' },
  });
  assert.equal(ended.code, 0, ended.stderr);
  return ended.stdout.toString().trim().split('\n').toSorted();
}

test('bash completes commands, those below them, options and their choices', async (t) => {
  const ask = async (...words: string[]) => offered(t, 'appengine-mailer', ...words);
  assert.deepEqual(await ask('dr'), ['drain']);
  assert.deepEqual(await ask('queue', 'rel'), ['release']);
  assert.deepEqual(await ask('queue', 'list', '--s'), ['--sender', '--spool', '--state']);
  assert.deepEqual(await ask('queue', 'list', '--state', 'sendi'), ['sending']);
  assert.deepEqual(await ask('proxy', 'ch'), ['check']);
  assert.deepEqual(await ask('proxy', 'check', '--js'), ['--json']);
  assert.deepEqual(await ask('ledger', ''), ['copy', 'fsck', 'list', 'show', 'stats']);
  assert.deepEqual(await ask('ledger', 'list', '--state', 'un'), ['unknown']);
  assert.deepEqual(await ask('proxy', '--backend', ''), [
    'appengine',
    'discard',
    'file',
    'jmap',
    'mailgun',
    'ses',
    'smtp',
  ]);
});

test('bash completes what queue takes without a command, and values behind =', async (t) => {
  const ask = async (...words: string[]) => offered(t, 'appengine-mailer', ...words);
  assert.deepEqual(await ask('queue', '--state', 'se'), ['sending', 'sent']);
  assert.deepEqual(await ask('queue', '--old'), ['--older-than']);
  assert.deepEqual(await ask('queue', 'delete', '--state', '=', 'he'), ['held']);
  assert.deepEqual(await ask('drain', '--wire', '='), ['v1', 'v2']);
});

test('bash completes ids of messages, the latest first, where a command takes them', async (t) => {
  const road = new Road(t);
  const ids = handIn(
    road.spool,
    Array.from({ length: 101 }, () => ({})),
  ).toSorted();
  const ask = async (...words: string[]) =>
    offered(
      t,
      'appengine-mailer',
      'queue',
      ...words.slice(0, 1),
      '--spool',
      road.spool,
      ...words.slice(1),
    );
  assert.deepEqual(await ask('show', ''), ids.slice(1));
  const [first = ''] = ids;
  assert.deepEqual(await ask('explain', first.slice(0, -1)), [first]);
  assert.deepEqual(await ask('retry', first, first.slice(0, -1)), [first]);
  assert.deepEqual(await ask('show', '--raw', first.slice(0, -1)), [first]);
  assert.deepEqual(await ask('show', '--ra'), ['--raw']);
  assert.deepEqual(await ask('show', 'x'), [''], 'no id begins so');
  assert.deepEqual(await ask('delete', '--state', 'f'), ['failed']);
  assert.deepEqual(await ask('list', first.slice(0, -1)), [''], 'takes no ids');
});

test('bash completes the options of gmail', async (t) => {
  assert.deepEqual(await offered(t, 'gmail', 'a@example.org', '--f'), ['--fix-sender']);
});
