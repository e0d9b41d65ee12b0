import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { Road } from '../support/road.ts';
import { exchange, signedPost } from '../support/signed-post.ts';

const now = () => Math.floor(Date.now() / 1000);

test('a signature of none of the keys is 401, unsigned, whatever else is wrong', async (t) => {
  const road = new Road(t);
  const { key } = road;
  const proxy = await road.proxy();
  const posts = {
    'another key': { key: 'other' },
    'no signature': { key, headers: { 'webhook-signature': undefined } },
    'a signature that is not valid': { key, headers: { 'webhook-signature': 'v1,' } },
    'another version': { key, headers: { 'webhook-signature': 'v2,abc=' } },
    'another id': { key, headers: { 'webhook-id': 'changed' } },
    'another time': { key, timestamp: now(), headers: { 'webhook-timestamp': String(now() - 1) } },
    'a wrong time as well': { key: 'other', timestamp: now() - 9999 },
    'a malformed frame as well': { key: 'other', body: Buffer.from('?') },
  };
  for (const [name, post] of Object.entries(posts)) {
    const answer = await signedPost(road.address, post);
    assert.equal(answer.status, 401, name);
    assert.equal(answer.headers['webhook-signature'], undefined, name);
  }
  assert.deepEqual(readdirSync(road.delivered), []);
  await proxy.says(/refused with 401/, Object.keys(posts).length);
});

test('a clock that is off by more than 300 s is 401, signed, with the time of the proxy', async (t) => {
  const road = new Road(t);
  const { key } = road;
  await road.proxy();
  for (const [name, timestamp, status] of [
    ['behind', now() - 302, 401],
    ['ahead', now() + 302, 401],
    ['in 1970', 0, 401],
    ['just behind', now() - 290, 200],
    ['just ahead', now() + 299, 200],
  ] as const) {
    const id = `clock-${name.replaceAll(' ', '-')}`;
    const answer = await signedPost(road.address, { key, id, timestamp });
    assert.equal(answer.status, status, name);
    assert.ok(answer.signedBy(key, id), name);
  }
  const none = { 'webhook-timestamp': 'soon' };
  const hmac = createHmac('sha256', key).update('an-id.soon.x').digest('base64');
  const answer = await signedPost(road.address, {
    key,
    id: 'an-id',
    body: Buffer.from('x'),
    headers: { ...none, 'webhook-signature': `v1,${hmac}` },
  });
  assert.equal(answer.status, 401, 'a time that is not valid');
});

test('any of several keys is taken, and the answer is signed with the same', async (t) => {
  const road = new Road(t);
  const keys = '\n# the old one, until May\nold key\n\n  new key  \n';
  const proxy = await road.proxy([], { GMAIL_SECRET_KEY: '', GMAIL_SECRET_KEYS: keys });
  assert.match(proxy.stderr, /, 2 keys/);
  for (const key of ['old key', 'new key']) {
    const id = key.replace(' ', '-');
    const answer = await signedPost(road.address, { key, id });
    assert.equal(answer.status, 200);
    assert.ok(answer.signedBy(key, id), key);
    assert.ok(!answer.signedBy(key === 'old key' ? 'new key' : 'old key', id));
  }
  for (const key of ['# the old one, until May', '', '  new key  ']) {
    assert.equal((await signedPost(road.address, { key })).status, 401, JSON.stringify(key));
  }
  assert.doesNotMatch(proxy.stderr, /old key|new key/, 'law 10: no key in the log');
});

test('a malformed post is 400, signed, and nothing of it is sent', async (t) => {
  const road = new Road(t);
  const { key } = road;
  await road.proxy();
  const bodies: Record<string, string | Buffer> = {
    nothing: '',
    'no line': '{"sender":"","recipients":[]}',
    'not JSON': 'sender: x\n',
    'not UTF-8': Buffer.from('{"sender":"\xff","recipients":["a@example.org"]}\n', 'latin1'),
    null: 'null\n',
    'no sender': '{"recipients":["a@example.org"]}\n',
    'a sender that is null': '{"sender":null,"recipients":["a@example.org"]}\n',
    'no recipients': '{"sender":""}\n',
    'recipients that are no list': '{"sender":"","recipients":"a@example.org"}\n',
    'a recipient that is a number': '{"sender":"","recipients":[1]}\n',
    'a recipient twice': '{"sender":"","recipients":["a@example.org","a@example.org"]}\n',
  };
  for (const [name, body] of Object.entries(bodies)) {
    const id = 'malformed';
    const answer = await signedPost(road.address, { key, id, body: Buffer.from(body) });
    assert.equal(answer.status, 400, name);
    assert.ok(answer.signedBy(key, id), name);
    assert.match(answer.body.toString(), /^[^\n]+$/, name);
  }
  for (const id of ['a.b', '../x', 'ü', ' ', 'x'.repeat(65)]) {
    const answer = await signedPost(road.address, { key, id: Buffer.from(id).toString('latin1') });
    assert.ok(answer.status === 400 || answer.status === 401, `${id}: ${answer.status}`);
  }
  const typed = await signedPost(road.address, { key, headers: { 'content-type': 'text/plain' } });
  assert.equal(typed.status, 400);
  assert.deepEqual(readdirSync(road.delivered), []);
});

test('recipients and senders that are no addresses fail alone, without the backend (law 5)', async (t) => {
  const road = new Road(t);
  const { key } = road;
  await road.proxy();
  const recipients = [
    'no-at',
    'a@example.org',
    'a b@example.org',
    '-@example.org',
    '\udcff@example.org',
  ];
  const answer = await signedPost(road.address, { key, recipients });
  const { verdicts } = JSON.parse(answer.body.toString()) as {
    verdicts: { recipient: string; status: string }[];
  };
  assert.deepEqual(
    verdicts.map(({ recipient }) => recipient),
    recipients,
  );
  assert.deepEqual(
    verdicts.map(({ status }) => status),
    ['5.1.3', '2.0.0', '5.1.3', '2.0.0', '5.1.3'],
  );
  assert.deepEqual(
    road.deliveries().map((each) => each.recipients),
    [['a@example.org', '-@example.org']],
  );

  const bad = await signedPost(road.address, {
    key,
    sender: 'no sender',
    recipients: ['b@example.org'],
  });
  assert.match(bad.body.toString(), /"status":"5\.1\.7"/);
  const bounce = await signedPost(road.address, { key, sender: '', recipients: ['b@example.org'] });
  assert.match(bounce.body.toString(), /"status":"2\.0\.0"/);
  assert.equal(
    road.deliveries().find(({ sender }) => sender === '')?.recipients[0],
    'b@example.org',
  );
});

test('a probe is 200 without verdicts, and leaves nothing in folder and ledger', async (t) => {
  const road = new Road(t);
  const { key } = road;
  await road.proxy();
  const answer = await signedPost(road.address, {
    key,
    id: 'probe',
    sender: '',
    recipients: [],
    bytes: '',
  });
  const note = `nothing leaves this machine: all mail is kept in ${road.delivered}`;
  const { ledger: id, ...told } = JSON.parse(answer.body.toString()) as { ledger: string };
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.deepEqual([answer.status, told], [200, { id: 'probe', verdicts: [], note }]);
  assert.ok(answer.signedBy(key, 'probe'));
  assert.deepEqual(readdirSync(road.delivered), []);
  const ledger = new Database(join(road.folder, 'ledger.db'), { readonly: true });
  t.after(() => ledger.close());
  const rows = ledger
    .prepare('SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM recipient) AS rows')
    .get();
  assert.deepEqual(rows, { rows: 0 });
});

test('GET / is 200 and empty; other paths are 404, other methods 405', async (t) => {
  const road = new Road(t);
  const { key } = road;
  await road.proxy();
  const get = await exchange(road.address, {});
  assert.deepEqual([get.status, get.body.length], [200, 0]);
  const head = await exchange(road.address, { method: 'HEAD' });
  assert.deepEqual([head.status, head.body.length], [200, 0]);
  assert.equal((await exchange(road.address, { path: '/?from=monitoring' })).status, 200);
  for (const path of ['/queue', '/favicon.ico', '//', '/%00']) {
    assert.equal((await exchange(road.address, { path })).status, 404, path);
  }
  const elsewhere = await exchange(road.address, {
    method: 'POST',
    path: '/x',
    headers: { 'content-type': 'x/y' },
  });
  assert.equal(elsewhere.status, 404);
  for (const method of ['PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    assert.equal((await exchange(road.address, { method })).status, 405, method);
  }
  assert.equal((await signedPost(road.address, { key })).status, 200, 'it still works');
});
