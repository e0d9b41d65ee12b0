import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { rowsOf } from '../support/controlled-deliverer.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { appengineMailer } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

test('the same post twice is one delivery and has alike verdicts; other bytes are 409 (law 6)', async (t) => {
  const road = new Road(t);
  const post = { key: road.key, id: 'an-id', recipients: ['a@example.org', 'b@example.org'] };
  const proxy = await road.proxy();
  const first = await signedPost(road.address, post);
  const delivered = road.deliveries();
  assert.equal(delivered.length, 1);
  rmSync(road.delivered, { recursive: true });
  // With the folder gone, a second delivery would fail.
  const second = await signedPost(road.address, post);
  // Alike, but for the word that it was sent before.
  const answer = JSON.parse(first.body.toString()) as { id: string; verdicts: object[] };
  const verdicts = answer.verdicts.map((verdict) => ({ ...verdict, sent_before: true }));
  const repeated = { ...answer, verdicts };
  assert.equal(second.status, 200);
  assert.deepEqual(JSON.parse(second.body.toString()), repeated);
  assert.ok(!existsSync(road.delivered));

  const other = await signedPost(road.address, { ...post, bytes: 'other bytes\n' });
  assert.equal(other.status, 409);
  assert.ok(other.signedBy(road.key, 'an-id'));
  await proxy.stop();

  const again = await road.proxy();
  const third = await signedPost(road.address, post);
  assert.deepEqual(JSON.parse(third.body.toString()), repeated, 'also after a restart');
  assert.deepEqual(road.deliveries(), []);
  await again.stop();
});

test('200 posts at once share transactions, and each has its own right answer (law 6)', async (t) => {
  const road = new Road(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  t.after(() => agent.destroy());
  const proxy = await road.proxy(['--backend', 'discard']);
  const ids = Array.from({ length: 200 }, (_, number) => `id-${number}`);
  const answers = await Promise.all(
    ids.map(async (id) =>
      signedPost(road.address, {
        key: road.key,
        id,
        recipients: [`${id}@example.org`],
        bytes: id,
        agent,
      }),
    ),
  );
  for (const [index, answer] of answers.entries()) {
    const id = ids[index] ?? '';
    assert.equal(answer.status, 200);
    assert.ok(answer.signedBy(road.key, id));
    const { ledger: _, ...told } = JSON.parse(answer.body.toString()) as { ledger: string };
    const verdict = { recipient: `${id}@example.org`, status: '2.0.0', reason: 'discarded' };
    assert.deepEqual(told, { id, verdicts: [verdict] });
  }
  await proxy.stop();
  const ledger = join(road.folder, 'ledger.db');
  const digests = new Map(rowsOf(ledger, 'message').map(({ id, digest }) => [id, digest]));
  assert.equal(digests.size, 200);
  for (const id of ids) assert.deepEqual(digests.get(id), createHash('sha256').update(id).digest());
  const recipients = rowsOf(ledger, 'recipient');
  assert.deepEqual(
    recipients.map(({ state }) => state),
    Array<string>(200).fill('sent'),
  );
});

test('a proxy killed while its backend works lists the mail as unknown and sends it again (law 6, law 7)', async (t) => {
  const road = new Road(t);
  // A disk that never answers.
  const hang = join(road.folder, 'hang.mjs');
  writeFileSync(
    hang,
    `import promises from 'node:fs/promises';
     import { syncBuiltinESMExports } from 'node:module';
     promises.rename = () => new Promise(() => {});
     syncBuiltinESMExports();`,
  );
  const first = await road.proxy([], { NODE_OPTIONS: `--import ${hang}` });
  const recipients = ['r@example.org'];
  const post = { key: road.key, id: 'an-id', recipients };
  const lost = signedPost(road.address, post);
  lost.catch(() => {}); // Looked at below.
  const ledger = join(road.folder, 'ledger.db');
  while (rowsOf(ledger, 'recipient').length === 0)
    await new Promise((resolve) => setTimeout(resolve, 10));
  await first.stop('SIGKILL');
  await assert.rejects(lost);

  await road.proxy();
  const [unknown, ...more] = rowsOf(ledger, 'unknown');
  assert.deepEqual(more, []);
  assert.deepEqual([unknown?.['message'], unknown?.['address']], ['an-id', 'r@example.org']);
  assert.equal((await signedPost(road.address, post)).status, 200);
  assert.deepEqual(
    road.deliveries().map(({ id }) => id),
    ['an-id'],
  );
});

test('a ledger that cannot be written: 503 with Retry-After, probe too, nothing sent; drain waits (law 5, law 6)', async (t) => {
  const road = new Road(t);
  const { key } = road;
  const proxy = await road.proxy();
  const other = new Database(join(road.folder, 'ledger.db'));
  other.exec(
    ['message', 'checked']
      .map((table) =>
        ['INSERT', 'UPDATE']
          .map(
            (event) =>
              `CREATE TRIGGER sick_${table}_${event} BEFORE ${event} ON ${table}
         BEGIN SELECT raise(ABORT, 'disk is sick'); END;`,
          )
          .join(' '),
      )
      .join(' '),
  );
  for (const recipients of [['a@example.org'], []]) {
    const answer = await signedPost(road.address, { key, id: 'an-id', recipients });
    assert.equal(answer.status, 503);
    assert.equal(answer.headers['retry-after'], '10');
    assert.ok(answer.signedBy(key, 'an-id'));
    assert.match(answer.body.toString(), /ledger cannot be written: disk is sick/);
  }
  assert.match(
    proxy.stderr,
    /attention: no mail is taken: the ledger cannot be written: disk is sick/,
  );

  handIn(road.spool, [{}]);
  const { code, stderr } = await road.drain(['--once']).ended;
  assert.equal(code, 69);
  assert.match(stderr, /answered 503 "the ledger cannot be written/);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
    [['queued', 0]],
  );
  assert.deepEqual(road.deliveries(), []);

  for (const { name } of other
    .prepare<unknown[], { name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'sick%'",
    )
    .all()) {
    other.exec(`DROP TRIGGER ${name}`);
  }
  other.close();
  assert.equal((await road.drain(['--once']).ended).code, 0);
  assert.equal(road.deliveries().length, 1);
});

test('a proxy without a key ends with 78, and a second one on the same ledger with 75', async (t) => {
  const road = new Road(t);
  const options = { cwd: road.folder, input: '' };
  for (const env of [{}, { GMAIL_SECRET_KEYS: '\n# nothing\n\n' }]) {
    const { code, stderr } = await appengineMailer(t, ['proxy', '--listen', '127.0.0.1:0'], {
      ...options,
      env,
    }).ended;
    assert.equal(code, 78, stderr);
    assert.match(stderr, /there is no key/);
  }
  const env = { GMAIL_SECRET_KEY: road.key };
  const first = await road.proxy();
  const args = ['proxy', '--listen', '127.0.0.1:0', '--ledger', join(road.folder, 'ledger.db')];
  const second = await appengineMailer(t, args, { ...options, env }).ended;
  assert.equal(second.code, 75, second.stderr);
  assert.match(second.stderr, /another proxy is at work/);

  const port = ['proxy', '--listen', road.address, '--ledger', join(road.folder, 'other.db')];
  const third = await appengineMailer(t, port, { ...options, env }).ended;
  assert.equal(third.code, 78, third.stderr);
  assert.match(third.stderr, /cannot listen on .*EADDRINUSE/);
  for (const listen of ['8025', 'localhost', '127.0.0.1:99999', ':8025']) {
    const { code } = await appengineMailer(t, ['proxy', '--listen', listen], { ...options, env })
      .ended;
    assert.equal(code, 64, listen);
  }
  await first.stop('SIGKILL');
  const after = await road.proxy();
  await after.stop();
});
