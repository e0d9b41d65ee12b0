import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { systemClock } from '../../src/host/clock.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { account } from '../support/account.ts';
import { appengineMailerAs } from '../support/as-account.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { signedPost } from '../support/signed-post.ts';

const digest = Buffer.alloc(32, 7);
const sent = { kind: 'sent', status: '2.0.0', reason: 'ok' } as const;

/** Runs `appengine-mailer ledger ARGS…` on a file; its lines and how it ended. */
async function ask(t: TestContext, file: string, ...args: string[]) {
  const command = ['ledger', ...args, '--ledger', file];
  const { code, stdout, stderr } = await appengineMailer(t, command, { input: '' }).ended;
  const lines = stdout
    .toString()
    .replace(/\b\d+ m?s ago/g, 'just now')
    .split('\n')
    .slice(0, -1);
  return { code, stderr, lines };
}

/** A ledger of two keys: sent, begun, and unknown twice, of which one was sent again. */
async function madeLedger(t: TestContext): Promise<string> {
  const file = join(scratch(t), 'ledger.db');
  let wallNow: number | undefined;
  const ledger = new SqliteLedger(file, { ...systemClock, wallNow: () => wallNow ?? Date.now() });
  const one = { key: 'web1', id: 'one' };
  await ledger.begin(one, digest, ['s@a.example', 'u@a.example']);
  const unknown = { kind: 'unknown', reason: 'the line broke' } as const;
  const longAgo = Date.now() - 3 * 3_600_000;
  await ledger.settle(one, [{ address: 's@a.example', ...sent }]);
  wallNow = longAgo;
  await ledger.settle(one, [{ address: 'u@a.example', ...unknown }]);
  wallNow = undefined;
  await ledger.begin({ key: '', id: 'one' }, digest, ['b@B.example']);
  await ledger.begin({ key: '', id: 'two' }, digest, ['again@a.example']);
  await ledger.settle({ key: '', id: 'two' }, [{ address: 'again@a.example', ...unknown }]);
  await ledger.begin({ key: '', id: 'two' }, digest, ['again@a.example']);
  await ledger.settle({ key: '', id: 'two' }, [{ address: 'again@a.example', ...sent }]);
  ledger.close();
  return file;
}

test('ledger lists the unknown, says which were sent again, and takes states and filters', async (t) => {
  const file = await madeLedger(t);
  const list = async (...args: string[]) => ask(t, file, 'list', ...args);
  assert.deepEqual((await ask(t, file)).lines, [
    'one of web1  <u@a.example> unknown, listed 3 h ago: the line broke',
    'two  <again@a.example> unknown, listed just now: the line broke; it was posted again and sent, ' +
      'so that the recipient may have it twice',
    '2 recipients',
  ]);
  assert.deepEqual((await list('--state', 'begun')).lines, [
    'one  <b@B.example> begun, posted just now',
    '1 recipient',
  ]);
  assert.deepEqual((await list('--state', 'sent', '--recipient', 'S@A.example')).lines, [
    'one of web1  <s@a.example> sent, posted just now (2.0.0 ok)',
    '1 recipient',
  ]);
  const json = async (...args: string[]) => {
    const { lines } = await list('--json', ...args);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  const [old, ...more] = await json('--older-than', '1h');
  assert.deepEqual(more, []);
  const { listed_at: listedAt, ...fields } = old ?? {};
  assert.ok(Math.abs(Date.parse(String(listedAt)) - (Date.now() - 3 * 3_600_000)) < 60_000);
  assert.deepEqual(fields, {
    id: 'one',
    key: 'web1',
    recipient: 'u@a.example',
    state: 'unknown',
    status: null,
    reason: 'the line broke',
    posted_at: null,
    sent_again: false,
  });
  const [begun] = await json('--state', 'begun', '--recipient', '@b.example');
  assert.deepEqual([begun?.['id'], begun?.['key'], begun?.['sent_again']], ['one', null, null]);
  assert.ok(Math.abs(Date.parse(String(begun?.['posted_at'])) - Date.now()) < 60_000);

  const none = await list('--recipient', 'nobody@a.example');
  assert.deepEqual([none.code, none.lines], [1, []]);
  assert.match(none.stderr, /no recipient matches the filter/);
  assert.equal((await list('--state', 'lost')).code, 64);
  assert.equal((await list('--recipient', '')).code, 64);
});

test('ledger show tells of a message of every key, and stats count', async (t) => {
  const file = await madeLedger(t);
  const states = async (id: string) => {
    const { code, lines } = await ask(t, file, 'show', id, '--json');
    const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    return [code, ...rows.map(({ recipient, state }) => `${String(recipient)} ${String(state)}`)];
  };
  assert.deepEqual(await states('one'), [
    0,
    'u@a.example unknown',
    'b@B.example begun',
    's@a.example sent',
  ]);
  assert.deepEqual(await states('web1/one'), [0, 'u@a.example unknown', 's@a.example sent']);
  assert.deepEqual(await states('three'), [1]);
  assert.match(
    (await ask(t, file, 'show', 'two')).lines[1] ?? '',
    /^two {2}<again@a\.example> sent/,
  );

  assert.deepEqual((await ask(t, file, 'stats')).lines, [
    '3 messages; recipients: 2 sent, 1 begun, 2 unknown',
    'oldest unknown listed 3 h ago',
    'posted from just now until just now',
  ]);
  const [line = ''] = (await ask(t, file, 'stats', '--json')).lines;
  const stats = JSON.parse(line) as Record<string, unknown>;
  assert.deepEqual(
    [stats['messages'], stats['sent'], stats['begun'], stats['unknown']],
    [3, 2, 1, 2],
  );
});

test('ledger list reads page after page, each recipient once', async (t) => {
  const file = join(scratch(t), 'ledger.db');
  const ledger = new SqliteLedger(file);
  const addresses = Array.from({ length: 450 }, (_, number) => `r${number}@a.example`);
  for (const id of ['one', 'two']) {
    await ledger.begin({ key: '', id }, digest, addresses);
    const kind = id === 'one' ? sent : ({ kind: 'unknown', reason: 'lost' } as const);
    const settled = addresses.map((address) => ({ address, ...kind }));
    await ledger.settle({ key: '', id }, settled);
  }
  ledger.close();
  for (const state of ['sent', 'unknown']) {
    const { lines } = await ask(t, file, 'list', '--state', state, '--json');
    const seen = lines.map((line) => (JSON.parse(line) as { recipient: string }).recipient);
    assert.deepEqual(seen.toSorted(), addresses.toSorted(), state);
  }
});

test('after a crash the proxy says how many are unknown, and the command that it names lists them while it runs (law 6)', async (t) => {
  const road = new Road(t);
  const reached = new AbortController();
  const atMessage = once(reached.signal, 'abort');
  const hang = () => {
    reached.abort();
    return 'hang';
  };
  const relay = await ScriptedSmtp.start(t, { message: hang });
  const to = ['--smtp-host', '127.0.0.1', '--smtp-port', String(relay.port)];
  const options = ['--backend', 'smtp', ...to, '--smtp-security', 'none'];
  const first = await road.proxy(options);
  const id = 'a'.repeat(32);
  const recipients = ['one@x.example', 'two@x.example'];
  const post = signedPost(road.address, { key: road.key, id, recipients });
  post.catch(() => {}); // Its proxy is killed.
  await atMessage;
  await first.stop('SIGKILL');

  const second = await road.proxy(options);
  const [, command = ''] = await second.says(
    /^2 recipients may have been sent to or not, 2 of them since the proxy ended before the backend answered\. .* To list them: appengine-mailer (.*)$/m,
  );
  const list = await appengineMailer(t, command.split(' '), { input: '' }).ended;
  assert.equal(list.code, 0, list.stderr);
  const lines = list.stdout.toString().split('\n');
  for (const recipient of recipients) {
    const line = `${id}  <${recipient}> unknown, listed `;
    assert.ok(
      lines.some((each) => each.startsWith(line)),
      list.stdout.toString(),
    );
  }
  await second.stop();

  const third = await road.proxy(options);
  await third.says(/^2 recipients may have been sent to or not\. /m);
  assert.equal((await third.stop()).code, 0);
});

test('a proxy whose ledger lists none says nothing of unknown recipients', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  await signedPost(road.address, { key: road.key, recipients: ['r@x.example'] });
  await proxy.says(/<r@x\.example> sent/);
  await proxy.stop();
  assert.doesNotMatch(proxy.stderr, /may have been/);
});

test('ledger commands change nothing: a ledger whose log was not copied yet is as it was', async (t) => {
  const file = await madeLedger(t);
  const ledger = new SqliteLedger(file);
  t.after(() => ledger.close());
  await ledger.begin({ key: '', id: 'new' }, digest, ['new@a.example']);
  const sizes = () => [statSync(file).size, statSync(`${file}-wal`).size];
  const before = sizes();
  for (const args of [['list'], ['show', 'new'], ['stats']]) {
    const { code, stderr } = await ask(t, file, ...args);
    assert.equal(code, 0, stderr);
  }
  assert.deepEqual(sizes(), before);
});

test('a ledger that is not there, or is no ledger, is said to be so (74)', async (t) => {
  const file = join(scratch(t), 'ledger.db');
  const missing = await ask(t, file);
  assert.equal(missing.code, 74);
  assert.match(missing.stderr, /there is no ledger \S+ledger\.db: name it with --ledger/);
  assert.ok(!existsSync(file));
  mkdirSync(file);
  assert.equal((await ask(t, file, 'stats')).code, 74);
});

test(
  'members of the ledger’s group read it while the proxy runs, others do not (77)',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    const state = join(road.folder, 'state');
    const file = join(state, 'ledger.db');
    mkdirSync(state);
    chmodSync(road.folder, 0o711);
    chownSync(state, uid, gid);
    chmodSync(state, 0o750);
    const member = { uid: 65_534, gid: 65_534, groups: [gid] };
    const list = async (who: typeof member) =>
      appengineMailerAs(road, who, ['ledger', 'list', '--ledger', file]).ended;
    const args = ['proxy', '--listen', '127.0.0.1:0', '--backend', 'discard', '--ledger', file];
    const proxy = appengineMailerAs(road, { uid, gid }, args, { GMAIL_SECRET_KEY: road.key });
    await proxy.says(/listens on/);
    const found = await list(member);
    assert.deepEqual([found.code, found.stdout.toString()], [0, 'no recipient is unknown\n']);
    const outsider = await list({ ...member, groups: [] });
    assert.equal(outsider.code, 77, outsider.stderr);
    assert.match(outsider.stderr, /be root, or in the group of its folder/);
    await proxy.stop();
    const stopped = await list(member);
    assert.ok([0, 77].includes(stopped.code ?? -1), stopped.stderr);
    // Root looks as the owner: what it makes the proxy can use.
    const byRoot = await ask(t, file);
    assert.equal(byRoot.code, 0, byRoot.stderr);
    const again = appengineMailerAs(road, { uid, gid }, args, { GMAIL_SECRET_KEY: road.key });
    await again.says(/listens on/);
    assert.equal((await again.stop()).code, 0);
  },
);
