import assert from 'node:assert/strict';
import { chownSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Keyring } from '../../src/proxy/policy/keyring.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { watchKeys } from '../../src/proxy/policy/watch-keys.ts';
import { formPost } from '../support/form-post.ts';
import { appengineMailer } from '../support/program.ts';
import { account } from '../support/account.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { signedPost } from '../support/signed-post.ts';

/** A change that is never noticed shows as a wait without end. */
const hang = { timeout: 60_000 };

/** The statuses of a post of either version with each key. */
async function answers(road: Road, ...keys: string[]): Promise<string[]> {
  return Promise.all(
    keys.map(async (key) => {
      const v1 = await formPost(road.address, { key });
      const v2 = await signedPost(road.address, { key });
      return `${v1.status} ${v2.status}`;
    }),
  );
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const [YES, NO] = ['204 200', '400 401'];

test('keys are exchanged under load, and nothing is lost (law 7)', hang, async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  writeFileSync(file, 'old key\n');
  const proxy = await road.proxy(['--keys-file', file, '--backend', 'discard']);
  let key = 'old key';
  const stop = new AbortController();
  const posted = { 'old key': 0, 'new key': 0 };
  const under = { ...posted }; // In flight.
  const others: number[] = [];
  const clients = Array.from({ length: 8 }, async () => {
    while (!stop.signal.aborted) {
      const used = key as keyof typeof posted;
      under[used] += 1;
      const { status } = await signedPost(road.address, { key: used });
      under[used] -= 1;
      posted[used] += 1;
      if (status !== 200) others.push(status);
    }
  });
  await until(() => posted['old key'] >= 16);
  writeFileSync(file, '# the old one, until May\nold key\n\n  new key\n');
  await proxy.says(/the keys were read again: 2 keys in force/);
  key = 'new key';
  await until(() => under['old key'] === 0);
  writeFileSync(`${file}.new`, 'new key\n'); // As editors do.
  renameSync(`${file}.new`, file);
  await proxy.says(/the keys were read again: 1 key in force/);
  const before = posted['new key'];
  await until(() => posted['new key'] >= before + 16);
  stop.abort();
  await Promise.all(clients);
  assert.deepEqual(others, []);
  assert.deepEqual(await answers(road, 'old key', 'new key'), [NO, YES]);
  assert.doesNotMatch(proxy.stderr, /old key|new key/, 'law 10: no key in the log');
});

test('blank lines, and those that begin with #, are no keys', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  const text = '\n \t\r\n# a comment\n  # another\n#key\n\n  a key \r\n \xc3\x84\x80\n';
  writeFileSync(file, text, 'latin1');
  const proxy = await road.proxy(['--keys-file', file]);
  assert.match(proxy.stderr, /, 2 keys$/m);
  const none = ['', '# a comment', '# another', '#key', ' ', '\r', '  a key '];
  assert.deepEqual(await answers(road, 'a key', ...none), [YES, ...none.map(() => NO)]);
});

test(
  'keys that cannot be read, or are none, leave the old ones in force, and that is told',
  hang,
  async (t) => {
    const road = new Road(t);
    const file = join(road.folder, 'keys');
    writeFileSync(file, 'a key\n');
    const proxy = await road.proxy(['--keys-file', file]);
    const kept = 'attention: the keys cannot be read again, and the old ones stay in force';
    writeFileSync(file, '# nothing\n');
    await proxy.says(new RegExp(`${kept}: there is no key`));
    rmSync(file);
    await proxy.says(new RegExp(`${kept}: cannot use ${file}: ENOENT`));
    mkdirSync(file);
    await proxy.says(new RegExp(`${kept}: cannot use ${file}: ${file} is a folder`));
    rmSync(file, { recursive: true });
    writeFileSync(file, '# allow-sender nobody\na key\n');
    await proxy.says(new RegExp(`${kept}: # allow-sender above line \\d+ of .* got "nobody"`));
    assert.deepEqual(await answers(road, 'a key'), [YES]);
    writeFileSync(file, 'another key\n');
    await proxy.says(/the keys were read again: 1 key in force/);
    assert.deepEqual(await answers(road, 'a key', 'another key'), [NO, YES]);
  },
);

test('a change behind symbolic links is noticed, whichever of them it is', hang, async (t) => {
  const road = new Road(t);
  const inside = (name: string) => join(road.folder, name);
  for (const [folder, keys] of [
    ['one', 'a\n'],
    ['two', 'a\nb\nc\n'],
  ] as const) {
    mkdirSync(inside(folder));
    writeFileSync(inside(`${folder}/keys`), keys);
  }
  symlinkSync('one', inside('data'));
  symlinkSync('data/keys', inside('keys'));
  const proxy = await road.proxy(['--keys-file', inside('keys')]);
  writeFileSync(inside('one/keys'), 'a\nb\n');
  await proxy.says(/the keys were read again: 2 keys in force/);
  symlinkSync('two', inside('data.new'));
  renameSync(inside('data.new'), inside('data'));
  await proxy.says(/the keys were read again: 3 keys in force/);
});

test('a change between the first reading and the first look is noticed', hang, async (t) => {
  const file = join(scratch(t), 'keys');
  const secret = Buffer.from('key');
  const key = { secret, name: '', allowedSenders: undefined };
  const found = [[key], [key, key]];
  const keyring = new Keyring(() => ({ keys: found.shift() ?? [key, key], file, faults: [] }));
  writeFileSync(file, 'as it stays\n');
  const told: string[] = [];
  const stop = new AbortController();
  t.after(() => stop.abort());
  watchKeys(
    keyring,
    proxyJournal(({ text }) => void told.push(text)),
    stop.signal,
  );
  await until(() => told.length > 0);
  assert.deepEqual(told, ['the keys were read again: 2 keys in force']);
});

test('SIGHUP reads the keys again, wherever they are from', hang, async (t) => {
  const road = new Road(t);
  const credentials = join(road.folder, 'credentials');
  mkdirSync(credentials);
  writeFileSync(join(road.folder, 'GMAIL_SECRET_KEY'), 'last of all\n');
  const env = { GMAIL_SECRET_KEY: '', CREDENTIALS_DIRECTORY: credentials };
  const proxy = await road.proxy([], env);
  assert.deepEqual(await answers(road, 'last of all'), [YES]);
  writeFileSync(join(credentials, 'GMAIL_SECRET_KEYS'), 'one\ntwo\n');
  proxy.child.kill('SIGHUP');
  await proxy.says(/the keys were read again: 2 keys in force/);
  assert.deepEqual(await answers(road, 'last of all', 'one', 'two'), [NO, YES, YES]);
});

test('SIGHUP does not change keys of the environment, and that is said', hang, async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  proxy.child.kill('SIGHUP');
  await proxy.says(
    /the keys cannot be read again, and the old ones stay in force: they are from the environment .* restart/,
  );
  assert.doesNotMatch(proxy.stderr, /read again:/);
});

test(
  'a proxy that root starts for a folder of another’s says that its keys are not read again; a file that the owner may read is',
  { ...hang, ...needs('root') },
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    chownSync(road.folder, uid, gid);
    const credentials = join(road.folder, 'credentials');
    mkdirSync(credentials);
    writeFileSync(join(credentials, 'GMAIL_SECRET_KEYS'), 'one\n', { mode: 0o600 });
    const env = { GMAIL_SECRET_KEY: '', CREDENTIALS_DIRECTORY: credentials };
    const proxy = await road.proxy(['--backend', 'discard'], env);
    assert.match(
      proxy.stderr,
      /^attention: the keys .* not read again, neither on SIGHUP .* restart/,
    );
    await proxy.stop();

    const keys = join(road.folder, 'keys');
    writeFileSync(keys, 'one\n');
    chownSync(keys, uid, gid);
    const other = await road.proxy(['--backend', 'discard', '--keys-file', keys], env);
    assert.doesNotMatch(other.stderr, /not read again/);
    writeFileSync(keys, 'one\ntwo\n');
    other.child.kill('SIGHUP');
    await other.says(/the keys were read again: 2 keys in force/);
  },
);

test('without a key the proxy does not start: 78', async (t) => {
  const road = new Road(t);
  const empty = join(road.folder, 'empty');
  writeFileSync(empty, '\n# none\n');
  for (const [args, env, sentence] of [
    [[], {}, /there is no key: put one on each line of --keys-file or GMAIL_SECRET_KEYS\n$/],
    [[], { GMAIL_SECRET_KEY: ' ' }, /there is no key/],
    [[], { GMAIL_SECRET_KEYS: '# none', GMAIL_SECRET_KEY: 'one' }, /there is no key/],
    [
      ['--keys-file', empty],
      { GMAIL_SECRET_KEY: 'one' },
      new RegExp(`there is no key in ${empty}: `),
    ],
    ...['\xef\xbb\xbfa key\n', '\xff\xfea\0\n\0', 'a\x1b[D key\n', 'a key\x7f'].map((text, nth) => {
      const file = join(road.folder, `binary${nth}`);
      writeFileSync(file, text, 'latin1');
      return [['--keys-file', file], {}, /the keys are not lines of text: /] as const;
    }),
    [['--keys-file', `${empty}.not`], {}, /cannot use .*empty\.not: ENOENT/],
  ] as const) {
    const all = ['proxy', '--listen', '127.0.0.1:0', ...args];
    const { code, stderr } = await appengineMailer(t, all, { cwd: road.folder, env, input: '' })
      .ended;
    assert.equal(code, 78);
    assert.match(stderr, sentence);
  }
});
