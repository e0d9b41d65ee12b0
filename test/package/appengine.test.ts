import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { account } from '../support/account.ts';
import { formPost } from '../support/form-post.ts';
import { inCheckout, run, start, type Program } from '../support/program.ts';
import { registryProxy } from '../support/registry-proxy.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedApiHost } from '../support/scripted-api-host.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { signedPost } from '../support/signed-post.ts';

const key = 'a secret key';
const isRoot = process.geteuid?.() === 0;

/** A folder as `npm run build:appengine` makes it. */
async function built(t: TestContext, folder = join(scratch(t), 'appengine')): Promise<string> {
  const { code, stderr } = await run(t, process.execPath, [
    inCheckout('dist/bin/build-appengine.js'),
    folder,
  ]);
  assert.equal(code, 0, stderr);
  return folder;
}

/**
 * What the platform makes of an uploaded folder: production dependencies by its lockfile; nothing is compiled, and
 * nobody but the registry is asked for anything.
 */
async function installed(t: TestContext): Promise<{ app: string; temporary: string }> {
  const app = await built(t);
  writeFileSync(join(app, 'GMAIL_SECRET_KEYS'), `# keys\n${key}\n`);
  writeFileSync(join(app, 'GMAIL_DEFAULT_SENDER'), 'us@example.com\n');
  const { registry, asked, environment } = await registryProxy(t);
  const npm_config_nodedir = process.env['npm_config_nodedir'] ?? join(process.execPath, '../..');
  const { code, stderr } = await run(t, 'npm', ['ci', '--omit=dev', '--prefer-offline'], {
    cwd: app,
    env: { ...environment, npm_config_nodedir },
  });
  assert.equal(code, 0, stderr);
  asked.delete(registry);
  assert.deepEqual([...asked], []);
  const temporary = join(app, '../temporary');
  mkdirSync(temporary);
  chmodSync(temporary, 0o777);
  chmodSync(join(app, '..'), 0o755);
  execFileSync('chmod', ['-R', 'a+rX,a-w', app]);
  t.after(() => execFileSync('chmod', ['-R', 'u+w', app]));
  return { app, temporary };
}

/** The folder with the Node.js that app.yaml asks for: nothing is compiled, so another one may have no SQLite. */
async function nodeOfPlatform(t: TestContext, yaml: string): Promise<string> {
  const [, major = ''] = /^runtime: nodejs(\d+)$/m.exec(yaml) ?? [];
  if (process.versions.node.startsWith(`${major}.`)) return dirname(process.execPath);
  const folder = scratch(t);
  const name = `node-linux-${process.arch}`;
  const args = ['--prefix', folder, '--ignore-scripts', '--no-save', `${name}@${major}`];
  const { code, stderr } = await run(t, 'npm', ['install', ...args]);
  assert.equal(code, 0, stderr);
  chmodSync(folder, 0o755);
  return join(folder, 'node_modules', name, 'bin');
}

/** Starts it as the platform does, with app.yaml's variables; it may write to a temporary folder alone. */
async function started(
  t: TestContext,
  { app, temporary }: { app: string; temporary: string },
  environment: Record<string, string>,
): Promise<{ address: string; program: Program }> {
  const yaml = readFileSync(join(app, 'app.yaml'), 'utf8');
  const variables = [...yaml.matchAll(/^ {2}(?<name>[A-Z_]+): (?<value>\S+)$/gm)].map(
    ({ groups }) => [groups?.['name'], groups?.['value']?.replace(/^''$/, '')],
  );
  const node = await nodeOfPlatform(t, yaml);
  const env = {
    PATH: `${node}:${process.env['PATH'] ?? ''}`,
    PORT: '0',
    TMPDIR: temporary,
    HOME: '/nonexistent',
    npm_config_logs_max: '0',
  };
  const [file, args]: [string, string[]] = isRoot
    ? account().command('npm', 'start')
    : ['npm', ['start']];
  // npm passes SIGTERM on, and of SIGKILL what it started does not hear.
  t.after(async () => program.stop());
  const program = start(t, file, args, {
    cwd: app,
    env: { ...env, ...Object.fromEntries(variables), ...environment },
  });
  const [, port] = await program.says(/proxy listens on 0\.0\.0\.0:(\d+), backend/);
  return { address: `127.0.0.1:${port}`, program };
}

test(
  'the folder for App Engine sends as the platform starts it, v1 and v2, and writes nowhere else',
  { timeout: 1_000_000 },
  async (t) => {
    const folder = await installed(t);
    const smtp = await ScriptedSmtp.start(t);
    const { address, program } = await started(t, folder, {
      APPENGINE_SMTP_HOST: '127.0.0.1',
      APPENGINE_SMTP_PORT: String(smtp.port),
      APPENGINE_SMTP_USE_TLS: 'false',
      APPENGINE_MAILER_ALLOW_SENDER: 'us@example.com',
    });
    assert.match(program.stderr, /backend smtp, .* 1 key$/m);
    const ours = { sender: 'us@example.com', bytes: 'From: us@example.com\n\nHello\n' };
    assert.equal((await signedPost(address, { key, ...ours })).status, 200);
    const fields = { fix_sender: 'true' };
    assert.equal((await formPost(address, { key, fields })).status, 204);
    assert.deepEqual(
      smtp.messages.map(({ envelope }) => envelope.map((line) => /<(.*)>/.exec(line)?.[1])),
      [
        ['us@example.com', 'r@example.org'],
        ['us@example.com', 'you@example.org'],
      ],
    );
    program.child.kill('SIGTERM');
    await program.ended;
    assert.match(program.stderr, /^proxy on 0\.0\.0\.0:\d+ stopped$/m);
    const written = readdirSync(folder.temporary).filter(
      (name) => !/^node-compile|^npm-/.test(name),
    );
    assert.deepEqual(written, ['ledger']);
    const state = readdirSync(join(folder.temporary, 'ledger'));
    assert.deepEqual(state.toSorted(), ['ledger.db', 'ledger.db.lock']);

    const api = await ScriptedApiHost.start(t);
    const opted = { ...api.environment, APPENGINE_MAILER_BACKEND: 'appengine' };
    const mail = await started(t, folder, opted);
    const headers = { 'x-appengine-api-ticket': 'a ticket' };
    assert.equal((await formPost(mail.address, { key, headers })).status, 204);
    assert.equal((await signedPost(mail.address, { key, headers })).status, 200);
    assert.deepEqual(
      api.calls.map(({ ticket, message: { Sender, To, Bcc } }) => [ticket, Sender, To, Bcc]),
      [
        ['a ticket', ['me@example.com'], ['you@example.org'], []],
        ['a ticket', ['s@example.com'], [], ['r@example.org']],
      ],
    );
  },
);

test('the folder for App Engine has production dependencies, by its lockfile, and one instance', async (t) => {
  const app = await built(t);
  const manifest = readJson(join(app, 'package.json'));
  assert.deepEqual(manifest['dependencies'], readJson(inCheckout('package.json'))['dependencies']);
  assert.equal(manifest['devDependencies'], undefined);
  const lock = readFileSync(join(app, 'package-lock.json'), 'utf8');
  assert.doesNotMatch(lock, /"dev": true|devDependencies|"resolved"/);
  // The install script of better-sqlite3 12, which is for Node.js 20 alone, would fetch a binary.
  assert.match(readFileSync(join(app, '.npmrc'), 'utf8'), /^ignore-scripts=true$/m);
  assert.deepEqual(manifest['engines'], { node: '>=22.14' });
  assert.match(lock, /"node_modules\/better-sqlite3": \{\n\s+"version": "13\./);

  const yaml = readFileSync(join(app, 'app.yaml'), 'utf8');
  assert.match(yaml, /^runtime: nodejs\d\d$/m);
  assert.match(yaml, /^ {2}max_instances: 1$/m);
  assert.match(yaml, /^ {2}APPENGINE_MAILER_BACKEND: smtp$/m);
  assert.match(yaml, /^# app_engine_apis: true$/m);
  assert.match(yaml, /Google does not support this for Node\.js/);
});

test('made again, the folder keeps what its administrator wrote, and nothing old', async (t) => {
  const app = await built(t);
  const theirs = ['app.yaml', 'GMAIL_SECRET_KEYS'].map((name) => join(app, name));
  for (const file of theirs) writeFileSync(file, 'mine\n');
  writeFileSync(join(app, 'dist/old.js'), '');
  await built(t, app);
  for (const file of theirs) assert.equal(readFileSync(file, 'utf8'), 'mine\n');
  assert.ok(!readdirSync(join(app, 'dist')).includes('old.js'));
});

function readJson(file: string): Record<string, unknown> {
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
}
