import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import type { Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { signedPost, type SignedPost } from '../support/signed-post.ts';

const ALICE = 'the key of the host alice';
const BOB = 'the key of the host bob..';
const FILE = `# name alice\n${ALICE}\n\n# name bob\n# allow-sender @bob.example\n${BOB}\n`;
const ID = '0123456789abcdef0123456789abcdef';
const BYTES = 'From: s@alice.example\n\nthe mail of alice\n';

/** A proxy with the keys of two hosts. */
async function twoHosts(t: TestContext, args: string[] = []): Promise<[Road, Program]> {
  const road = new Road(t);
  writeFileSync(join(road.folder, 'keys'), FILE, { mode: 0o600 });
  return [road, await road.proxy(['--keys-file', join(road.folder, 'keys'), ...args])];
}

/** The HTTP status of a post of a host's, and the status and reason of its one verdict. */
async function answer(road: Road, post: SignedPost): Promise<string> {
  const { status, body } = await signedPost(road.address, { id: ID, ...post });
  if (status !== 200) return `${status} ${body.toString()}`;
  const { verdicts } = JSON.parse(body.toString()) as {
    verdicts: { status: string; reason: string }[];
  };
  return verdicts.map((each) => `${status} ${each.status} ${each.reason}`).join();
}

const ask = Buffer.from(`{"sender":"s@alice.example","recipients":["r@example.org"],"ask":true}\n`);

test('a host that knows the id of another host cannot block its message, sent or refused (law 6)', async (t) => {
  const [road, proxy] = await twoHosts(t);
  const [id = ''] = handIn(road.spool, [{ sender: 's@alice.example' }]);
  const sender = 'x@bob.example';
  const bytes = `From: ${sender}\n\nx\n`;
  assert.match(await answer(road, { key: BOB, id, sender, bytes }), /^200 2\.0\.0 /);
  assert.match(await answer(road, { key: BOB, id, sender: 'x@bank.example' }), /^409 /);
  const { code } = await road.drain(['--once'], { GMAIL_SECRET_KEY: ALICE }).ended;
  assert.equal(code, 0);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
    [['sent', 1]],
  );
  assert.equal(road.deliveries().length, 2, 'neither has replaced the file of the other');
  assert.match(
    proxy.stderr,
    new RegExp(`${id} of bob \\(127\\.0\\.0\\.1:\\d+\\) from <x@bob\\.example>: .* sent`),
  );
  assert.match(
    proxy.stderr,
    new RegExp(`${id} of alice \\(127\\.0\\.0\\.1:\\d+\\) from <s@alice\\.example>: .* sent`),
  );
  assert.match(proxy.stderr, /request from \S+ with key bob refused with 409/);
});

test('a host that knows id and bytes of another host does not read its verdicts', async (t) => {
  const [road] = await twoHosts(t);
  const post = { sender: 's@alice.example', bytes: BYTES };
  const told = await answer(road, { key: ALICE, ...post });
  assert.match(told, /^200 2\.0\.0 /);
  assert.match(await answer(road, { key: BOB, ...post }), /^200 5\.7\.1 /);
  assert.match(await answer(road, { key: BOB, body: ask }), /^200 4\.4\.2 the proxy does not know/);
  assert.equal(await answer(road, { key: ALICE, body: ask }), told);
  assert.equal(await answer(road, { key: ALICE, ...post }), told);
  assert.equal(road.deliveries().length, 1);
});

test('a host neither waits for a message that another host is sending under the same id, nor holds it up', async (t) => {
  const reached = new EventEmitter();
  const relay = await ScriptedSmtp.start(t, {
    message: (bytes) => {
      if (!bytes.includes('the mail of alice')) return '250 2.0.0 ok';
      reached.emit('alice');
      return 'hang';
    },
  });
  const smtp = ['--backend', 'smtp', '--smtp-host', '127.0.0.1', '--smtp-security', 'none'];
  const [road] = await twoHosts(t, [...smtp, '--smtp-port', String(relay.port)]);
  const isReached = once(reached, 'alice');
  const alice = answer(road, { key: ALICE, sender: 's@alice.example', bytes: BYTES });
  await isReached;
  assert.match(await answer(road, { key: BOB, body: ask }), /^200 4\.4\.2 /);
  const sender = 'x@bob.example';
  const bytes = `From: ${sender}\n\nx\n`;
  assert.match(await answer(road, { key: BOB, sender, bytes }), /^200 2\.0\.0 /);
  relay.sockets[0]?.write('250 2.0.0 ok\r\n');
  assert.match(await alice, /^200 2\.0\.0 /);
});

test('an exchange of keys under one name changes nothing in the ledger (law 6)', async (t) => {
  const [road, proxy] = await twoHosts(t);
  const post = { sender: 's@alice.example', bytes: BYTES };
  const told = await answer(road, { key: ALICE, ...post });
  const next = 'the next key of host alice';
  writeFileSync(join(road.folder, 'keys'), `${FILE}# name alice\n${next}\n`);
  await proxy.says(/3 keys in force/);
  assert.equal(await answer(road, { key: next, ...post }), told);
  assert.equal(await answer(road, { key: next, body: ask }), told);
  assert.match(await answer(road, { key: next, ...post, bytes: 'other\n' }), /^409 /);
  assert.equal(road.deliveries().length, 1);
});

test('a key that is given a name does not send again the messages that it sent without one (law 6)', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  writeFileSync(file, `${ALICE}\n${BOB}\n`, { mode: 0o600 });
  const proxy = await road.proxy(['--keys-file', file]);
  const post = { sender: 's@alice.example', bytes: BYTES };
  const told = await answer(road, { key: ALICE, ...post });
  writeFileSync(file, FILE);
  await proxy.says(/read again/);
  assert.match(
    await answer(road, { key: ALICE, body: ask }),
    /^200 4\.4\.2 /,
    'it brings no bytes',
  );
  assert.equal(await answer(road, { key: ALICE, ...post }), told);
  assert.equal(road.deliveries().length, 1);

  // And nobody without a name blocks it: other bytes are another host's message.
  writeFileSync(file, `${FILE}a key without any name\n`);
  await proxy.says(/read again/, 2);
  const id = 'f'.repeat(32);
  assert.match(await answer(road, { key: 'a key without any name', id }), /^200 2\.0\.0 /);
  assert.match(await answer(road, { key: ALICE, id, ...post }), /^200 2\.0\.0 /);
  assert.match(await answer(road, { key: ALICE, id, ...post, bytes: 'other\n' }), /^409 /);
  assert.equal(road.deliveries().length, 3);
});

test('keys of one name share a --rate, and 429 names them', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'keys');
  const other = 'the other key of alice';
  writeFileSync(file, `${FILE}# name alice\n${other}\n`, { mode: 0o600 });
  const proxy = await road.proxy(['--keys-file', file, '--rate', '1/min', '--backend', 'discard']);
  const sender = 's@bob.example';
  const post = { sender, bytes: `From: ${sender}\n\nx\n` };
  assert.match(await answer(road, { key: ALICE, ...post }), /^200 2/);
  assert.match(await answer(road, { key: other, ...post }), /^429 /);
  assert.match(await answer(road, { key: BOB, ...post }), /^200 2/);
  await proxy.says(/request from \S+ with key alice refused with 429/);
});
