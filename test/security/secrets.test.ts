import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { formPost } from '../support/form-post.ts';
import { handIn } from '../support/hand-in.ts';
import { inCheckout, run } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

const KEY = 'kept/S3cret+of=this-host';
/** The most public place that it may have. */
const SECRET = { GMAIL_SECRET_KEY: KEY };
const MESSAGE = 'From: s@example.com\nTo: r@example.org\n\nx\n';

/** Looks for the key as it is, and as what writes down bytes may show it. */
function assertNoKey(text: Buffer | string, where: string): void {
  for (const encoding of ['utf8', 'base64', 'base64url', 'hex'] as const) {
    assert.ok(!text.includes(Buffer.from(KEY).toString(encoding)), `the key is in ${where}`);
  }
}

/** All files of the road: spool, ledger, deliveries, and what the test has put there. */
function filesOf(road: Road): string[] {
  const entries = readdirSync(road.folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => join(parentPath, name));
}

/** Runs a program of the checkout with the key in its environment; its exit code and all that it said. */
async function runs(
  road: Road,
  program: 'appengine-mailer' | 'gmail',
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number | null; said: string }> {
  const words = [inCheckout(`dist/bin/${program}.js`), ...args];
  const options = {
    env: { APPENGINE_MAILER_SPOOL: road.spool, ...SECRET, ...env },
    input: MESSAGE,
  };
  const { code, stdout, stderr } = await run(road.t, process.execPath, words, options);
  return { code, said: `${stdout.toString()}${stderr}` };
}

test('the key is in no output, argument list, spool, ledger or delivery, whatever goes wrong (law 10)', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy([], SECRET);
  const drain = road.drain([], SECRET);
  await road.pipe('1abc', bsmtp('s@example.com', ['r@example.org'], MESSAGE), SECRET);
  await drain.says(/> sent \(/);
  for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    assertNoKey(commandLine(name), `the arguments of ${name}`);
  }
  await drain.stop();

  const url = { GMAIL_PROXY_URL: `http://${road.address}/` };
  const [id = ''] = handIn(road.spool, [{}]);
  const calls: Parameters<typeof runs>[] = [
    [road, 'gmail', [], url],
    ...[['list', '--json'], ['show', id], ['explain', id], ['stats'], ['hold', 'nothing']].map(
      (args): Parameters<typeof runs> => [road, 'appengine-mailer', ['queue', ...args]],
    ),
  ];
  for (const wrong of [
    { GMAIL_PROXY_URL: KEY },
    { GMAIL_PROXY_URL: `https://${encodeURIComponent(KEY)}@proxy.example.org/` },
    { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' },
    { ...url, GMAIL_SECRET_KEY: `another ${KEY}` },
  ]) {
    calls.push([road, 'appengine-mailer', ['drain', '--once'], wrong]);
    calls.push([road, 'appengine-mailer', ['check'], wrong]);
    calls.push([road, 'gmail', [], wrong]);
  }
  const keys = join(road.folder, 'keys');
  calls.push([road, 'appengine-mailer', ['proxy', '--keys-file', keys]]);
  for (const call of calls) {
    writeFileSync(keys, `${KEY}\x01`); // Not lines of text.
    const { said } = await runs(...call);
    assertNoKey(said, `what is said: ${said}`);
    writeFileSync(keys, '');
  }
  for (const post of [
    { key: 'wrong' },
    { key: KEY, body: Buffer.from('?') },
    { key: KEY, timestamp: 1 },
  ]) {
    assertNoKey((await signedPost(road.address, post)).body, 'an answer');
  }
  for (const post of [{ key: 'wrong' }, { key: KEY, msg: 'x' }, { key: KEY, body: `msg=${KEY}` }]) {
    assertNoKey((await formPost(road.address, post)).body, 'an answer of HTTP v1');
  }

  await proxy.stop('SIGKILL'); // Leaves the ledger's log beside it.
  for (const { stderr } of [proxy, drain]) assertNoKey(stderr, stderr);
  const files = filesOf(road);
  for (const name of ['spool.db', 'ledger.db', 'ledger.db-wal']) {
    assert.ok(
      files.some((file) => file.endsWith(`/${name}`)),
      name,
    );
  }
  for (const file of files) assertNoKey(readFileSync(file), file);
});

test('programs that ours start have the key neither in their environment nor as an argument (law 10)', async (t) => {
  const road = new Road(t);
  const shim = (name: string, then: string) => {
    const file = join(road.folder, name);
    const seen = `{ env; tr '\\0' ' ' </proc/$$/cmdline; } >>'${file}.seen'`;
    writeFileSync(file, `#!/bin/sh\n${seen}\n${then}\n`);
    chmodSync(file, 0o755);
    return file;
  };
  shim('node', `exec '${process.execPath}' "$@"`);
  const path = { PATH: `${road.folder}:/usr/bin:/bin` };
  const queued = await runs(road, 'gmail', ['--queue'], path);
  assert.equal(queued.code, 0, queued.said);

  const routes = `[ "$1" = -bt ] && { echo '> a@b'; echo '  router = x'; exit 0; }`;
  const exim = shim('exim4', `${routes}; cat >'${road.folder}/taken'`);
  const returned = await runs(road, 'appengine-mailer', [
    'queue',
    'return',
    '--all',
    '--exim',
    exim,
  ]);
  assert.equal(returned.code, 0, returned.said);
  assert.match(readFileSync(join(road.folder, 'taken'), 'latin1'), /^RCPT TO:<r@example\.org>/m);
  for (const name of ['node.seen', 'exim4.seen']) {
    const seen = readFileSync(join(road.folder, name), 'latin1');
    assert.match(seen, /^APPENGINE_MAILER_SPOOL=/m, 'what is no secret is passed on');
    assertNoKey(seen, name);
  }
});

test('exim-pipe leaves no core file, which would have somebody’s mail in it', async (t) => {
  const road = new Road(t);
  const node = join(road.folder, 'node');
  writeFileSync(node, '#!/bin/sh\necho "core files: $(ulimit -c)"\nexit 75\n');
  chmodSync(node, 0o755);
  const allowed = 'ulimit -c unlimited 2>/dev/null; exec "$@"';
  const words = ['-c', allowed, 'sh', inCheckout('exim/exim-pipe'), '1abc'];
  const env = { PATH: `${road.folder}:/usr/bin:/bin` };
  const { stdout } = await run(t, '/bin/sh', words, { env });
  assert.equal(stdout.toString(), 'core files: 0\n');
});

/** Of a process that may be gone by now. */
function commandLine(pid: string): Buffer {
  try {
    return readFileSync(`/proc/${pid}/cmdline`);
  } catch {
    return Buffer.alloc(0);
  }
}
