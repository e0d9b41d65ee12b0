import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test(
  'a drain that is not configured ends with 78 and says what to do',
  { concurrency: 3 },
  async (suite) => {
    const cases: [string, NodeJS.ProcessEnv, string[], RegExp][] = [
      ['no URL', { GMAIL_PROXY_URL: '' }, [], /GMAIL_PROXY_URL is not set.*\/etc\/envdir/],
      ['no key', { GMAIL_SECRET_KEY: '' }, [], /GMAIL_SECRET_KEY is not set.*\/etc\/envdir/],
      ['an empty key', { GMAIL_SECRET_KEY: ' \t' }, [], /GMAIL_SECRET_KEY is empty/],
      ['an invalid URL', { GMAIL_PROXY_URL: 'proxy.example.org' }, [], /not an http\(s\) URL/],
      ['another scheme', { GMAIL_PROXY_URL: 'ftp://127.0.0.1/' }, [], /not an http\(s\) URL/],
      ['http: to elsewhere', { GMAIL_PROXY_URL: 'http://192.0.2.1/' }, [], /--allow-insecure/],
      [
        'http: to a name that begins like this host',
        { GMAIL_PROXY_URL: 'http://localhost.example.org/' },
        [],
        /--allow-insecure/,
      ],
      [
        'a user in the URL',
        { GMAIL_PROXY_URL: 'https://me@example.org/' },
        [],
        /must not carry a user/,
      ],
      ['a CA file that has none', {}, ['--ca-file', '/dev/null'], /certificates .*\/dev\/null: /],
      ['a CA file that is missing', {}, ['--ca-file', '/nonexistent/ca.pem'], /nonexistent/],
    ];
    await Promise.all(
      cases.map(async ([name, env, args, says]) =>
        suite.test(name, async (t) => {
          const road = new Road(t);
          const { code, stderr } = await road.drain(['--once', ...args], env).ended;
          assert.equal(code, 78, stderr);
          assert.match(stderr, says);
          assert.equal(stderr.trim().split('\n').length, 1, stderr);
        }),
      ),
    );
  },
);

test('a password in a URL, and the key, also in place of the URL, are not repeated in what goes wrong (law 10)', async (t) => {
  const road = new Road(t);
  const urls = ['https://me:hunter2@example.org/', 'ftp://me:hunter2@example.org/', road.key];
  for (const url of urls) {
    const { code, stderr } = await road.drain(['--once'], { GMAIL_PROXY_URL: url }).ended;
    assert.equal(code, 78);
    assert.doesNotMatch(stderr, /hunter2|a secret key/);
  }
});

test('http: to another machine works with --allow-insecure, as an option or in the environment', async (t) => {
  const road = new Road(t);
  for (const [args, env] of [
    [['--allow-insecure'], {}],
    [[], { APPENGINE_MAILER_ALLOW_INSECURE: 'true' }],
  ] as const) {
    const url = 'http://proxy.invalid/';
    const { code, stderr } = await road.drain(['--once', ...args], { GMAIL_PROXY_URL: url, ...env })
      .ended;
    assert.equal(code, 0, stderr); // Nothing is queued.
    assert.match(stderr, /to http:\/\/proxy\.invalid\/ started; 0 messages queued/);
  }
});

test('an option goes before the environment, that before $CREDENTIALS_DIRECTORY; a key is a trimmed line', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, '  inner spaces stay '.trim(), (post) =>
    post.accept(),
  );
  writeFileSync(join(road.folder, 'GMAIL_SECRET_KEY'), ' inner spaces stay\t\r\nnot this\n');
  writeFileSync(join(road.folder, 'GMAIL_PROXY_URL'), 'http://127.0.0.1:1/\n');
  const { code, stderr } = await road.drain(['--once', '--proxy-url', proxy.url], {
    GMAIL_PROXY_URL: 'http://127.0.0.1:2/',
    GMAIL_SECRET_KEY: '',
    CREDENTIALS_DIRECTORY: road.folder,
  }).ended;
  assert.equal(code, 0, stderr);
  assert.equal(proxy.posts.length, 1);

  // Without the option, the environment; without both, the credential.
  const { stderr: second } = await road.drain(['--once'], {
    GMAIL_PROXY_URL: 'http://127.0.0.1:2/',
  }).ended;
  assert.match(second, /127\.0\.0\.1:2\//);
  const { stderr: third } = await road.drain(['--once'], {
    GMAIL_PROXY_URL: '',
    CREDENTIALS_DIRECTORY: road.folder,
  }).ended;
  assert.match(third, /127\.0\.0\.1:1\//);
});
