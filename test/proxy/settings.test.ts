import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { appengineMailer, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

test('GMAIL_SECRET_KEY is one key, read as drain reads it; the settings of several have comments', async (t) => {
  const road = new Road(t);
  const odd = '# is a part of this key';
  const single = await road.proxy([], { GMAIL_SECRET_KEY: ` ${odd}\nno second key\n` });
  assert.match(single.stderr, /, 1 key$/m);
  assert.equal((await signedPost(road.address, { key: odd })).status, 200);
  assert.equal((await signedPost(road.address, { key: 'no second key' })).status, 401);
  await single.stop();

  const file = join(road.folder, 'keys');
  writeFileSync(file, `${odd}\nthe key\n`);
  const many = await road.proxy(['--keys-file', file], { GMAIL_SECRET_KEY: odd });
  assert.equal((await signedPost(road.address, { key: odd })).status, 401);
  assert.equal((await signedPost(road.address, { key: 'the key' })).status, 200);
  await many.stop();
});

test('the first line tells which ledger, and that it is empty when it is', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'there.db');
  const started = async () => {
    const proxy = start(road, ['--ledger', './there.db', '--dir', './mail']);
    const [, address = ''] = await proxy.says(/proxy listens on (\S+),.*\n/);
    road.address = address;
    return proxy;
  };
  for (const known of ['no post', 'a probe', 'a message']) {
    const proxy = await started();
    assert.ok(proxy.stderr.includes(`, ledger ${file} (empty), 1 key\n`), proxy.stderr);
    const recipients = known === 'a probe' ? [] : ['a@example.org'];
    if (known !== 'no post') {
      assert.equal((await signedPost(road.address, { key: road.key, recipients })).status, 200);
    }
    await proxy.stop();
  }
  const proxy = await started();
  assert.ok(proxy.stderr.includes(`, ledger ${file}, 1 key\n`), proxy.stderr);
  await proxy.stop();
});

test('errors name whole paths', async (t) => {
  const road = new Road(t);
  writeFileSync(join(road.folder, 'in-the-way'), '');
  for (const [option, sentence] of [
    ['--ledger', `cannot use ${road.folder}/in-the-way/x`],
    ['--dir', `cannot deliver into ${road.folder}/in-the-way/x`],
  ] as const) {
    const { code, stderr } = await start(road, [option, 'in-the-way/x']).ended;
    assert.equal(code, 78);
    assert.ok(stderr.includes(sentence), stderr);
  }
});

test('a folder that cannot be made, and an option given twice, are told at once', async (t) => {
  const road = new Road(t);
  for (const [args, code, sentence] of [
    [['--dir', '/proc/x'], 78, 'cannot deliver into /proc/x: ENOENT'],
    [['--dir', './a/b'], 78, `cannot deliver into ${road.folder}/a/b: ENOENT`],
    [['--ledger', 'a', '--ledger', 'b'], 64, 'appengine-mailer: --ledger is given twice\n'],
  ] as const) {
    const ended = await start(road, [...args]).ended;
    assert.equal(ended.code, code);
    assert.ok(ended.stderr.includes(sentence), ended.stderr);
  }
});

test('--max-recipients is a whole number above 0, or 64', { timeout: 120_000 }, async (t) => {
  const road = new Road(t);
  for (const none of ['0', '-1', '1.5', 'many', 'Infinity', '']) {
    const { code, stderr } = await start(road, [`--max-recipients=${none}`]).ended;
    assert.equal(code, 64, none);
    assert.match(
      stderr,
      /^appengine-mailer: --max-recipients takes a whole number above 0 and got ".*"\n$/,
    );
  }
  await road.proxy(['--max-recipients', '1']);
  const post = { key: road.key, recipients: ['a@example.org', 'b@example.org'] };
  const { body } = await signedPost(road.address, post);
  const { verdicts } = JSON.parse(body.toString()) as { verdicts: { status: string }[] };
  assert.deepEqual(
    verdicts.map(({ status }) => status),
    ['2.0.0', '4.5.3'],
  );
});

test('a flag is yes or no, as an option and in the environment', async (t) => {
  const road = new Road(t);
  for (const value of ['maybe', '', 'false!']) {
    const { code, stderr } = await start(road, [`--soft-bounce=${value}`]).ended;
    assert.equal(code, 64, stderr);
    assert.match(stderr, /^appengine-mailer: --soft-bounce takes yes or no and got ".*"\n$/);
  }
  const wrong = await start(road, [], { APPENGINE_MAILER_SOFT_BOUNCE: 'maybe' }).ended;
  assert.equal(wrong.code, 78);
  assert.match(wrong.stderr, /APPENGINE_MAILER_SOFT_BOUNCE takes yes or no and got "maybe"\n$/);

  const on = /--soft-bounce is on/;
  for (const [args, variable, expected] of [
    [['--soft-bounce'], '', true],
    [['--soft-bounce=yes'], '', true],
    [['--soft-bounce=1'], 'no', true],
    [[], 'YES', true],
    [['--soft-bounce=0'], 'yes', false],
    [['--no-soft-bounce'], 'true', false],
    [[], 'False', false],
  ] as const) {
    const proxy = await road.proxy(args, { APPENGINE_MAILER_SOFT_BOUNCE: variable });
    assert.equal(on.test(proxy.stderr), expected, `${args.join(' ')}, ${variable}`);
    await proxy.stop();
  }
});

function start(road: Road, args: string[], env: NodeJS.ProcessEnv = {}): Program {
  const options = { cwd: road.folder, env: { GMAIL_SECRET_KEY: road.key, ...env }, input: '' };
  return appengineMailer(road.t, ['proxy', '--listen', '127.0.0.1:0', ...args], options);
}

test('a setting with a wrong name ends a service with 78, and does not hinder an operator', async (t) => {
  const road = new Road(t);
  const env = { APPENGINE_MAILER_LISTENS: '127.0.0.1:0', APPENGINE_MAILER_SPOOL: road.spool };
  for (const program of [start(road, [], env), road.drain(['--once'], env)]) {
    const { code, stderr } = await program.ended;
    assert.equal(code, 78);
    assert.match(stderr, /^appengine-mailer: there is no setting APPENGINE_MAILER_LISTENS: /);
  }
  const list = await appengineMailer(t, ['queue', '--spool', road.spool], { env }).ended;
  assert.equal(list.code, 74, 'there is no spool yet');
});
