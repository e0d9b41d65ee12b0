import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { appengineMailer } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

const env = { GMAIL_SECRET_KEY: 'a key of sixteen octets' };

const wrong: [what: string, args: string[], env: NodeJS.ProcessEnv, said: RegExp, exitCode?: 64][] =
  [
    ['there is no key', [], {}, /there is no key/],
    ['a sender is not valid', ['--allow-sender', 'x'], env, /--allow-sender takes/, 64],
    ['a rate is not valid', ['--rate', 'often'], env, /rate/, 64],
    ['an address is not valid', ['--listen', '127.0.0.1'], env, /--listen takes/, 64],
    ['the relay has no name', ['--backend', 'smtp'], env, /smtp-host/],
    [
      'the provider has no key',
      ['--backend', 'mailgun', '--mailgun-domain', 'x.org'],
      env,
      /API_KEY/,
    ],
    ['an option is for another backend', ['--smtp-host', 'x'], env, /is for --backend smtp/, 64],
    [
      'the ledger has no folder',
      ['--ledger', './missing/ledger.db'],
      env,
      /cannot use .*ledger.db/,
    ],
    ['mail cannot be delivered', ['--dir', './missing/delivered'], env, /cannot deliver into/],
  ];
for (const [what, args, environment, said, exitCode = 78] of wrong) {
  test(`a proxy that does not start, since ${what}, leaves no file behind`, async (t) => {
    const cwd = scratch(t);
    const options = { cwd, env: environment, input: '' };
    const listen = args.includes('--listen') ? [] : ['--listen', `unix:${join(cwd, 'socket')}`];
    const words = ['proxy', ...listen];
    const { code, stderr } = await appengineMailer(t, [...words, ...args], options).ended;
    assert.equal(code, exitCode, stderr);
    assert.match(stderr, said);
    assert.deepEqual(readdirSync(cwd), []);
  });
}

test('a proxy whose port is taken leaves no file behind', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const cwd = scratch(t);
  mkdirSync(join(cwd, 'mine'));
  const args = ['proxy', '--listen', `127.0.0.1:${port}`];
  const { code, stderr } = await appengineMailer(t, args, { cwd, env, input: '' }).ended;
  assert.equal(code, 78, stderr);
  assert.match(stderr, /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/);
  assert.deepEqual(readdirSync(cwd), ['mine']);
});
