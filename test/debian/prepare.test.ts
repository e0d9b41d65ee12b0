import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { prepare } from '../../debian/make/prepare.ts';
import { version } from '../../src/host/version.ts';
import { drainLock } from '../../src/spool/locks.ts';
import { binaryFile } from '../../src/sqlite/better-sqlite3.ts';
import { inCheckout, run, start } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedApiHost } from '../support/scripted-api-host.ts';
import { signedPost } from '../support/signed-post.ts';

const message = 'MAIL FROM:<s@example.com>\nRCPT TO:<r@example.org>\nDATA\n\nx\n.\n';

test('debian/copyright names every npm package whose code is in the packages', (t) => {
  const paths = Object.values(prepare(scratch(t))).flatMap((packages) => [...packages]);
  const packages = new Set(paths.map((path) => path.replace(/^.*node_modules\//, '')));
  for (const known of ['undici', 'yargs', `@koromix/koffi-linux-${process.arch}`])
    assert.ok(packages.has(known), known);
  const copyright = readFileSync(inCheckout('debian/copyright'), 'utf8');
  const named = new Set(
    [...copyright.matchAll(/ node_modules\/(\S+)\/\*$/gm)].map(([, name]) => name),
  );
  const unnamed = [...packages].filter((name) => !named.has(name));
  assert.deepEqual(unnamed, []);
});

test('the programs run without the checkout: version, help, a message into the queue and out of a list', async (t) => {
  const lib = prepared(t);
  for (const program of ['appengine-mailer.mjs', 'gmail.mjs']) {
    const told = await run(t, process.execPath, [join(lib, program), '--version'], { cwd: '/' });
    assert.equal(told.stdout.toString(), `${version()}\n`);
    const help = await run(t, process.execPath, [join(lib, program), '--help']);
    assert.equal(help.code, 0);
    assert.match(help.stdout.toString(), new RegExp(`^${program.replace('.mjs', '')} `));
  }
  const spool = folder(t);
  const taken = await eximPipe(t, lib, spool);
  assert.equal(taken.code, 0, taken.stdout.toString());
  const queue = [join(lib, 'appengine-mailer.mjs'), 'queue', '--json', '--spool', spool];
  const listed = await run(t, process.execPath, queue);
  assert.equal((JSON.parse(listed.stdout.toString()) as { exim_id: string }).exim_id, 'abc');
});

test('the proxy runs without the checkout, and makes a text of HTML for the Mail API', async (t) => {
  const api = await ScriptedApiHost.start(t);
  const args = ['proxy', '--listen', '127.0.0.1:0', '--backend', 'appengine'];
  const proxy = start(t, process.execPath, [join(prepared(t), 'appengine-mailer.mjs'), ...args], {
    cwd: folder(t),
    env: { GMAIL_SECRET_KEY: 'key', ...api.environment },
  });
  const [, address = ''] = await proxy.says(/proxy listens on (\S+),/);
  const bytes = 'Content-Type: text/html\n\n<h1>Hello</h1>';
  assert.equal((await signedPost(address, { key: 'key', bytes })).status, 200);
  assert.deepEqual(api.calls[0]?.message.TextBody, ['HELLO']);
});

test('migrate-spool makes the spool what the programs need, and leaves it to a drain at work', async (t) => {
  const lib = prepared(t);
  const spool = folder(t);
  const env = { APPENGINE_MAILER_SPOOL: spool };
  const migrate = async () => run(t, process.execPath, [join(lib, 'migrate-spool.mjs')], { env });

  const lock = drainLock(spool);
  const told = await migrate();
  assert.deepEqual([told.code, told.stderr], [0, '']);
  assert.ok(!existsSync(join(spool, 'spool.db')));
  lock?.release();

  assert.equal((await migrate()).code, 0);
  const queue = [join(lib, 'appengine-mailer.mjs'), 'queue', '--json'];
  assert.equal((await run(t, process.execPath, queue, { env })).code, 0);
});

test('law 1: with native modules for another Node.js, mail stays with Exim, and each program says why', async (t) => {
  const lib = prepared(t);
  const addon = `node_modules/${binaryFile}`;
  writeFileSync(join(lib, addon), 'of another machine');
  const spool = folder(t);
  const why = new RegExp(
    `Node\\.js ${process.version} \\(ABI \\d+\\) cannot load .*${addon}.*: install`,
  );

  const pipe = await eximPipe(t, lib, spool);
  assert.equal(pipe.code, 75);
  assert.match(pipe.stdout.toString(), why);
  assert.equal(pipe.stdout.toString().split('\n').length, 2, 'one line');

  const env = {
    GMAIL_SECRET_KEY: 'a key of 16 octets or more',
    GMAIL_PROXY_URL: 'http://127.0.0.1:9/',
    HOME: spool,
  };
  for (const command of ['drain', 'queue']) {
    const args = [join(lib, 'appengine-mailer.mjs'), command, '--spool', spool];
    const { code, stderr } = await run(t, process.execPath, args, { env });
    assert.equal(code, 74, stderr);
    assert.match(stderr, why);
    assert.equal(stderr.split('\n').length, 2, 'one line');
  }
  const help = await run(t, process.execPath, [join(lib, 'appengine-mailer.mjs'), '--help']);
  assert.equal(help.code, 0, help.stderr);
});

test('law 1: without a native module for this Node.js, mail stays with Exim, and exim-pipe says what there is', async (t) => {
  const lib = prepared(t);
  const modules = join(lib, 'node_modules');
  rmSync(join(modules, binaryFile));
  const { code, stdout } = await eximPipe(t, lib, folder(t));
  assert.equal(code, 75);
  assert.match(stdout.toString(), / needs better-sqlite3\S*\.node, and there is none: install /);

  const old = { name: 'better-sqlite3', version: '12.11.1' };
  mkdirSync(join(modules, 'better-sqlite3'), { recursive: true });
  writeFileSync(join(modules, 'better-sqlite3/package.json'), JSON.stringify(old));
  const told = await eximPipe(t, lib, folder(t));
  assert.equal(told.code, 75);
  assert.match(told.stdout.toString(), /there is better-sqlite3 12\.11\.1 in \S+: install /);
});

/** What the packages have in /usr/lib/appengine-mailer, in a folder of the test's. */
function prepared(t: TestContext): string {
  const to = scratch(t);
  prepare(to);
  return join(to, 'lib');
}

function folder(t: TestContext): string {
  const spool = join(scratch(t), 'spool');
  mkdirSync(spool);
  return spool;
}

async function eximPipe(t: TestContext, lib: string, spool: string) {
  const args = [join(lib, 'exim-pipe.cjs'), '--spool', spool, 'abc'];
  return run(t, process.execPath, args, { input: message });
}
