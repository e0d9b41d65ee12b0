import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { BackendUnavailableError } from '../../src/proxy/backends/backend.ts';
import { pruneLedgerLoop } from '../../src/proxy/ledger/prune-ledger-loop.ts';
import { DigestConflictError } from '../../src/proxy/ledger/ledger.ts';
import { migrations } from '../../src/proxy/ledger/sqlite/ledger-schema.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { ControlledDeliverer, everyone, rowsOf } from '../support/controlled-deliverer.ts';
import { scratch } from '../support/scratch.ts';

const [a, b, c] = ['a@example.org', 'b@example.org', 'c@example.org'] as const;

test('a repeat is answered alike and not sent again, also after a restart (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const first = await proxy.post('id', [a, b]);
  assert.deepEqual(first, [`2.0.0 told ${a}`, `2.0.0 told ${b}`]);
  assert.deepEqual(await proxy.post('id', [a, b]), first);
  assert.deepEqual(await proxy.post('id', [b]), first.slice(1));
  proxy.restart();
  assert.deepEqual(await proxy.post('id', [b, a]), first.toReversed());
  assert.equal(proxy.calls.length, 1);

  // The key is message and recipient: what is new of either is sent.
  await proxy.post('id', [a, c]);
  await proxy.post('other', [a]);
  assert.deepEqual(
    proxy.calls.slice(1).map(({ id, recipients }) => [id, recipients]),
    [
      ['id', [c]],
      ['other', [a]],
    ],
  );
});

test('the same id with other bytes is refused, and nothing of it is sent (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  await proxy.post('id', [a]);
  await assert.rejects(proxy.post('id', [a], 'other\n'), DigestConflictError);
  await assert.rejects(proxy.post('id', [b], 'other\n'), DigestConflictError);
  proxy.restart();
  await assert.rejects(proxy.post('id', [b], 'other\n'), DigestConflictError);
  assert.equal(proxy.calls.length, 1);
  assert.deepEqual(await proxy.post('id', [a]), [`2.0.0 told ${a}`], 'the first is as it was');
});

test('a second post of a message that is being sent waits for the first: one call, the same verdicts (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const backend = new AbortController();
  proxy.answer = async (delivery) => {
    await once(backend.signal, 'abort');
    return everyone(delivery, '2.0.0');
  };
  const first = proxy.post('id', [a, b]);
  const second = proxy.post('id', [a, b]);
  const third = proxy.post('id', [b, c]);
  while (proxy.calls.length < 2) await new Promise((resolve) => setImmediate(resolve));
  const fourth = proxy.post('id', [a]);
  backend.abort();
  assert.deepEqual(await second, await first);
  assert.deepEqual(await third, [`2.0.0 told ${b}`, `2.0.0 told ${c}`]);
  assert.deepEqual(await fourth, [`2.0.0 told ${a}`]);
  assert.deepEqual(
    proxy.calls.map(({ recipients }) => recipients),
    [[a, b], [c]],
  );
});

test('a second post with other bytes while the first is being sent is not given its verdict (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const backend = new AbortController();
  proxy.answer = async (delivery) => {
    await once(backend.signal, 'abort');
    return everyone(delivery, '2.0.0');
  };
  const first = proxy.post('id', [a]);
  while (proxy.calls.length < 1) await new Promise((resolve) => setImmediate(resolve));
  const second = proxy.post('id', [a], 'other\n');
  second.catch(() => {}); // Looked at below.
  backend.abort();
  await first;
  await assert.rejects(second, DigestConflictError);
});

test('4.x.x and 5.x.x are tried anew when they are posted anew, each alone (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  proxy.answer = ({ recipients }) =>
    Promise.resolve(
      recipients.map((recipient) => {
        const status = recipient === a ? '4.2.2' : recipient === b ? '5.1.1' : '2.0.0';
        return { recipient, status, reason: 'so' };
      }),
    );
  assert.deepEqual(await proxy.post('id', [a, b, c]), ['4.2.2 so', '5.1.1 so', '2.0.0 so']);
  assert.deepEqual(
    proxy.rows('recipient').map(({ address, state }) => [address, state]),
    [[c, 'sent']],
  );
  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  await proxy.post('id', [a, b, c]);
  assert.deepEqual(proxy.calls[1]?.recipients, [a, b]);
  assert.deepEqual(proxy.rows('unknown'), []);
});

test('a recipient for whom the backend throws or gives no result is 4.4.2, listed, and sent at the next post (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  proxy.answer = () => Promise.reject(new Error('the line broke after DATA'));
  assert.deepEqual(await proxy.post('id', [a]), ['4.4.2 the line broke after DATA']);
  const [listed, ...more] = proxy.rows('unknown');
  assert.deepEqual(more, []);
  assert.deepEqual([listed?.['message'], listed?.['address']], ['id', a]);
  assert.ok(proxy.journal.some((line) => line.includes('cannot be known') && line.includes(a)));

  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  assert.deepEqual(await proxy.post('id', [a]), [`2.0.0 told ${a}`]);
  assert.equal(proxy.calls.length, 2);
  assert.equal(proxy.rows('unknown').length, 1, 'it stays listed: it may have been sent twice');

  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0').slice(1));
  const [silent, told] = await proxy.post('half', [a, b]);
  assert.match(silent ?? '', /^4\.4\.2 /);
  assert.equal(told, `2.0.0 told ${b}`);
  assert.deepEqual(
    proxy.rows('unknown').map(({ message, address }) => [message, address]),
    [
      ['id', a],
      ['half', a],
    ],
  );
});

test('a backend that can take nothing: the post is refused, nothing is listed, all is tried anew (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  proxy.answer = () => Promise.reject(new BackendUnavailableError('relay down'));
  await assert.rejects(proxy.post('id', [a, b]), BackendUnavailableError);
  assert.deepEqual(proxy.rows('unknown'), []);
  assert.deepEqual(proxy.rows('recipient'), []);
  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  await proxy.post('id', [a, b]);
  assert.deepEqual(proxy.calls[1]?.recipients, [a, b]);
});

test('recipients that were begun when the proxy died are unknown at the next start, and sent again (law 6, law 7)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  proxy.answer = () => new Promise(() => {});
  void proxy.post('id', [a, b]).catch(() => {}); // Its proxy is no more.
  while (proxy.calls.length < 1) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    proxy.rows('recipient').map(({ state }) => state),
    ['begun', 'begun'],
    'committed before the call',
  );
  proxy.restart();
  assert.deepEqual(
    proxy.rows('unknown').map(({ message, address }) => [message, address]),
    [
      ['id', a],
      ['id', b],
    ],
  );
  assert.deepEqual(proxy.rows('recipient'), []);
  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  await proxy.post('id', [a, b]);
  assert.equal(proxy.calls.length, 2);
  proxy.restart();
  assert.equal(proxy.rows('unknown').length, 2, 'listed once');
});

test('a recipient that was sent is committed as sent before its post is answered (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  await proxy.post('id', [a]);
  const [row] = proxy.rows('recipient');
  assert.deepEqual(
    [row?.['state'], row?.['status'], row?.['reason']],
    ['sent', '2.0.0', `told ${a}`],
  );
});

test('the ledger forgets 30 days after the last post, and not before (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const day = 86_400_000;
  await proxy.post('old', [a]);
  await proxy.post('repeated', [a]);
  proxy.answer = () => Promise.reject(new Error('?'));
  await proxy.post('unknown', [a]);
  const posted = proxy.ledger.now();
  assert.equal(proxy.ledger.prune(posted + 29 * day), false);
  assert.equal(proxy.rows('message').length, 3);
  proxy.restart({ after: 20 * day });
  await proxy.ledger.begin({ key: '', id: 'repeated' }, digestOf(proxy, 'repeated'), [a]);
  proxy.ledger.prune(posted + 31 * day);
  assert.deepEqual(
    proxy.rows('message').map(({ id }) => id),
    ['repeated'],
  );
  assert.deepEqual(
    proxy.rows('recipient').map(({ message }) => message),
    ['repeated'],
  );
  assert.deepEqual(proxy.rows('unknown'), []);
});

test('law 12: a clock that is 400 days ahead for a while makes the ledger forget nothing (law 6)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const stop = new AbortController();
  const house = async () =>
    pruneLedgerLoop(
      proxy.ledger,
      proxyJournal(() => {}),
      stop.signal,
    );
  await proxy.post('id', [a]);
  const { now } = Date;
  for (const days of [30, 400, -400]) {
    const wall = t.mock.method(Date, 'now', () => now() + days * 86_400_000);
    proxy.restart();
    void house();
    assert.deepEqual(await proxy.post('other', [b]), [`2.0.0 told ${b}`]);
    wall.mock.restore();
  }
  void house();
  assert.deepEqual(await proxy.post('id', [a]), [`2.0.0 told ${a}`]);
  assert.deepEqual(
    proxy.calls.map(({ id }) => id),
    ['id', 'other'],
  );
  stop.abort();
});

test('law 12: an older ledger forgets nothing when it is brought up to date, whatever the clock says', (t) => {
  const file = join(scratch(t), 'ledger.db');
  const listedAt = Date.now() - 60 * 86_400_000;
  const old = openDatabase(file, {
    name: 'ledger',
    migrations: migrations.slice(0, 2),
    migrate: true,
    create: true,
  });
  old.exec(`INSERT INTO message (id, digest, at) VALUES ('id', zeroblob(32), ${listedAt});
    INSERT INTO recipient VALUES ('id', '${a}', 'sent', '2.0.0', 'ok');
    INSERT INTO gap VALUES ('', 'x', ${listedAt});
    INSERT INTO unknown VALUES ('id', '${b}', ${listedAt}, 'lost')`);
  old.close();
  const ledger = new SqliteLedger(file);
  t.after(() => ledger.close());
  ledger.prune(ledger.now() + 29 * 86_400_000);
  const rows = (['message', 'recipient', 'unknown'] as const).map((table) => rowsOf(file, table));
  assert.deepEqual(
    rows.map(({ length }) => length),
    [1, 1, 1],
  );
  assert.equal(rows[2]?.[0]?.['listed_at'], listedAt, 'people read when it was listed');
  ledger.prune(ledger.now() + 31 * 86_400_000);
  assert.deepEqual(rowsOf(file, 'message'), []);
});

test('pruning many goes in steps, and each says whether there is more', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const digest = Buffer.alloc(32);
  await Promise.all(
    Array.from({ length: 1200 }, async (_, number) =>
      proxy.ledger.begin({ key: '', id: `id-${number}` }, digest, []),
    ),
  );
  const later = proxy.ledger.now() + 31 * 86_400_000;
  const steps = [];
  for (let more = true; more;) {
    more = proxy.ledger.prune(later);
    steps.push(proxy.rows('message').length);
  }
  assert.deepEqual(steps, [700, 200, 0]);
});

test('a recipient that a full disk left as begun can still be sent (law 6, law 7)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const other = new Database(proxy.file);
  t.after(() => other.close());
  other.exec(
    `CREATE TRIGGER full BEFORE DELETE ON recipient BEGIN SELECT raise(ABORT, 'full'); END`,
  );
  proxy.answer = () => Promise.reject(new BackendUnavailableError('away'));
  await assert.rejects(proxy.post('id', [a]), BackendUnavailableError);
  assert.deepEqual(
    proxy.rows('recipient').map(({ state }) => state),
    ['begun'],
  );
  other.exec('DROP TRIGGER full');
  proxy.answer = (delivery) => Promise.resolve(everyone(delivery, '2.0.0'));
  assert.deepEqual(await proxy.post('id', [a]), [`2.0.0 told ${a}`]);
  assert.deepEqual(
    proxy.rows('recipient').map(({ state }) => state),
    ['sent'],
  );
});

/** Begins three posts at once, which share a transaction: 'one', the id given, 'three'. */
async function beginThree({ ledger }: ControlledDeliverer, id: string): Promise<string[]> {
  const digest = Buffer.alloc(32);
  const begun = ['one', id, 'three'].map(async (each) =>
    ledger.begin({ key: '', id: each }, digest, [a]),
  );
  return (await Promise.allSettled(begun)).map(({ status }) => status);
}

test('an action that cannot be written fails alone, and leaves nothing of itself (law 7)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const other = new Database(proxy.file);
  t.after(() => other.close());
  for (const event of ['ABORT', 'FAIL']) {
    other.exec(`DROP TRIGGER IF EXISTS odd;
      CREATE TRIGGER odd AFTER INSERT ON recipient WHEN new.message = 'odd'
      BEGIN SELECT raise(${event}, 'odd'); END`);
    assert.deepEqual(await beginThree(proxy, 'odd'), ['fulfilled', 'rejected', 'fulfilled'], event);
    for (const [table, column] of [
      ['message', 'id'],
      ['recipient', 'message'],
    ] as const) {
      assert.deepEqual(
        proxy.rows(table).map((row) => row[column]),
        ['one', 'three'],
      );
    }
  }
});

test('when the whole transaction is lost, all that share it are told (law 7)', async (t) => {
  const proxy = new ControlledDeliverer(t);
  const other = new Database(proxy.file);
  t.after(() => other.close());
  // What SQLite itself does on some errors of the disk.
  other.exec(`CREATE TRIGGER full AFTER INSERT ON recipient WHEN new.message = 'full'
    BEGIN SELECT raise(ROLLBACK, 'disk is full'); END`);
  assert.deepEqual(await beginThree(proxy, 'full'), ['rejected', 'rejected', 'rejected']);
  assert.deepEqual(proxy.rows('message'), []);
  assert.deepEqual(await beginThree(proxy, 'two'), ['fulfilled', 'fulfilled', 'fulfilled']);
  assert.equal(proxy.rows('recipient').length, 3);
});

function digestOf(proxy: ControlledDeliverer, id: string): Buffer {
  const row = proxy.rows('message').find((each) => each['id'] === id);
  return row?.['digest'] as Buffer;
}
