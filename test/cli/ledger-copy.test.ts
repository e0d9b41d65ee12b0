import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { exclusiveLock } from '../../src/sqlite/exclusive-lock.ts';
import type { Ledger } from '../../src/proxy/ledger/ledger.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { dayQuota } from '../../src/proxy/pace/quota.ts';
import { Spending } from '../../src/proxy/pace/spending.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { sqliteEngine } from '../support/ledger-engines.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import { appengineMailer } from '../support/program.ts';

const digest = Buffer.alloc(32, 7);
const ok = { status: '2.0.0', reason: 'ok' };
const journal = proxyJournal(() => {});

async function ledger(t: TestContext, ...args: string[]) {
  const { code, stdout, stderr } = await appengineMailer(t, ['ledger', ...args], { input: '' })
    .ended;
  return { code, stderr, lines: stdout.toString().trimEnd().split('\n') };
}

test(
  'law 6: ledger copy has what a file knows known in PostgreSQL, once, however often it is run',
  needs('postgres'),
  async (t) => {
    const place = await sqliteEngine.place(t);
    const file = await place.open();
    for (let number = 0; number < 2500; number += 1) {
      void file.begin({ key: 'web1', id: `id${number}` }, digest, ['a@example.org']);
      if (number % 10 > 0)
        void file.settle({ key: 'web1', id: `id${number}` }, [
          { address: 'a@example.org', kind: 'sent', ...ok },
        ]);
    }
    await file.settle({ key: 'web1', id: 'id10' }, [
      { address: 'a@example.org', kind: 'unknown', reason: 'the line broke' },
    ]);
    const { id } = file;
    await file.close();
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    const to = await server.database('copied');
    const copy = async (...more: string[]) =>
      ledger(t, 'copy', '--ledger', place.name, '--to', to, ...more);

    const lock = exclusiveLock(`${place.name}.lock`);
    const refused = await copy();
    assert.deepEqual([refused.code, refused.lines], [75, ['']]);
    assert.match(refused.stderr, /a proxy is at work on .*systemctl stop/);
    lock?.release();

    for (let run = 1; run <= 2; run += 1) {
      const { code, lines, stderr } = await copy();
      assert.equal(code, 0, stderr);
      assert.match(lines[0] ?? '', /2500 messages, 2250 recipients that were sent, 250 unknown$/);
    }
    assert.match(
      (await ledger(t, 'stats', '--ledger', to)).lines[0] ?? '',
      /^2500 messages; recipients: 2250 sent, 0 begun, 250 unknown$/,
    );
    assert.deepEqual((await ledger(t, 'fsck', '--ledger', to)).lines, [
      `nothing is wrong with the ledger ${to}`,
    ]);
    assert.match(
      (await ledger(t, 'show', 'id10', '--ledger', to)).lines[0] ?? '',
      /unknown, listed .*: the line broke$/,
    );

    const shared = await openPostgresLedger(to, { journal });
    t.after(async () => shared.close());
    assert.equal(shared.id, id, 'hosts that wait for an answer find it here');
    const again = await place.open();
    assert.notEqual(again.id, id, 'and no more there');
    await again.close();
    assert.deepEqual(
      await shared.known({ key: 'web1', id: 'id1' }, ['a@example.org'], digest),
      new Map([['a@example.org', ok]]),
    );
    assert.equal(
      (await shared.begin({ key: 'web1', id: 'id20' }, digest, ['a@example.org'])).size,
      0,
      'sent again, and listed',
    );
    assert.equal(await shared.prune(), false);
  },
);

test(
  'ledger copy takes along what was spent of quotas, once, and at its age',
  needs('postgres'),
  async (t) => {
    const place = await sqliteEngine.place(t);
    const file = await place.open();
    const day = [dayQuota(100)];
    const spend = async (shared: Ledger, recipients: number) =>
      shared.changePace((text, now) => {
        const spending = new Spending(text, day, now);
        spending.spend(recipients);
        return { text: spending.toString(), result: spending.left };
      });
    assert.equal(await spend(file, 60), 40);
    await file.close();
    await place.letPass(10 * 3_600_000);
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    const shared = await openPostgresLedger(server.url, { journal });
    t.after(async () => shared.close());
    await spend(shared, 10);
    for (let run = 1; run <= 2; run += 1) {
      const { code, stderr } = await ledger(t, 'copy', '--ledger', place.name, '--to', server.url);
      assert.equal(code, 0, stderr);
      assert.equal(await spend(shared, 0), 30);
    }
    const left = async (afterHours: number) =>
      shared.changePace((text, now) => {
        const later = new Spending(text, day, now + afterHours * 3_600_000);
        return { text, result: later.left };
      });
    assert.deepEqual([await left(13.5), await left(14.5), await left(24.5)], [30, 90, 100]);
  },
);

test(
  'ledger copy refuses a database in which a message has other bytes, and copies nothing',
  needs('postgres'),
  async (t) => {
    const place = await sqliteEngine.place(t);
    const file = await place.open();
    for (const id of ['one', 'two']) await file.begin({ key: '', id }, digest, ['a@example.org']);
    await file.close();
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    const to = await server.database('other');
    const shared = await openPostgresLedger(to, { journal });
    t.after(async () => shared.close());
    await shared.begin({ key: '', id: 'two' }, Buffer.alloc(32, 8), []);
    const { code, stderr } = await ledger(t, 'copy', '--ledger', place.name, '--to', to);
    assert.equal(code, 78);
    assert.match(stderr, /is there with other bytes/);
    const names = await server.query('SELECT name FROM message', [], 'other');
    assert.deepEqual(names, [{ name: 'two' }]);
    for (const wrong of [['--to', place.name], []]) {
      assert.equal((await ledger(t, 'copy', '--ledger', place.name, ...wrong)).code, 64);
    }
    const secret = await ledger(
      t,
      'copy',
      '--ledger',
      place.name,
      '--to',
      'postgres://me:secret@host/db',
    );
    assert.deepEqual([secret.code, secret.stderr.includes('secret')], [64, false]);
  },
);
