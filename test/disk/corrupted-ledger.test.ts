import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { limits } from '../../src/limits.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { rebuildLedger } from '../../src/proxy/ledger/sqlite/rebuild-ledger.ts';
import { appengineMailerAs } from '../support/as-account.ts';
import { countPages, damages, pagesOf, spoilPage } from '../support/damage.ts';
import { figures, LONG } from '../support/figures.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer } from '../support/program.ts';
import { random } from '../support/random.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

const MESSAGES = 400;
const digest = Buffer.alloc(32, 7);
const address = (number: number) => `r${number}@example.org`;

/** A ledger that knows these messages as sent. */
async function fullLedger(t: TestContext, choice: { below(end: number): number }) {
  const file = join(scratch(t), 'ledger.db');
  const ledger = new SqliteLedger(file);
  const ids = Array.from({ length: MESSAGES }, () => hex(choice));
  await Promise.all(
    ids.map(async (id, number) => {
      await ledger.begin({ key: '', id }, digest, [address(number)]);
      const sent = { kind: 'sent', status: '2.0.0', reason: `told ${number}` } as const;
      await ledger.settle({ key: '', id }, [{ address: address(number), ...sent }]);
    }),
  );
  ledger.close();
  return { file, ids };
}

function hex(choice: { below(end: number): number }): string {
  return Array.from({ length: 32 }, () => choice.below(16).toString(16)).join('');
}

for (const damage of damages) {
  test(`law 6: whatever page of the ledger is broken (${damage}), what it sent is known after fsck or listed as unknown`, async (t) => {
    const choice = random(t);
    const { file, ids } = await fullLedger(t, choice);
    const seen = { known: 0, unknown: 0, fresh: 0 };
    const stride = LONG ? 1 : 4;
    for (let page = 1 + choice.below(stride); page <= countPages(file); page += stride) {
      const broken = join(scratch(t), 'ledger.db');
      cpSync(file, broken);
      spoilPage(broken, page, damage, choice);
      rebuildLedger(broken, 2000);
      const ledger = new SqliteLedger(broken);
      const fresh = Array.from({ length: 20 }, () => hex(choice));
      const known = await Promise.all(
        [...ids, ...fresh].map(async (id, number) => {
          const sent = await ledger.known({ key: '', id }, [address(number)], digest);
          if (sent.size === 0) await ledger.begin({ key: '', id }, digest, [address(number)]);
          return sent;
        }),
      );
      ledger.close();
      const db = new Database(broken, { readonly: true });
      const unknown = new Set(db.prepare('SELECT message FROM unknown').pluck().all());
      assert.deepEqual(db.pragma('integrity_check'), [{ integrity_check: 'ok' }]);
      db.close();
      ids.forEach((id, number) => {
        const kept = known[number]?.get(address(number));
        if (kept) assert.equal(kept.status, '2.0.0', `page ${page}`);
        else assert.ok(unknown.has(id), `page ${page}: ${id} is sent twice and not listed`);
        seen[kept ? 'known' : 'unknown'] += 1;
      });
      seen.fresh += fresh.filter((id) => unknown.has(id)).length;
    }
    figures(t, `a broken page of the ledger, ${damage}`, seen);
    assert.ok(seen.unknown > 0 && seen.known > 10 * seen.unknown, JSON.stringify(seen));
    assert.equal(seen.fresh, 0, 'what is new is not in doubt');
  });
}

test('law 5, law 6: after fsck no digest or time that is spoiled has a message refused or forgotten', async (t) => {
  const { file, ids } = await fullLedger(t, random(t));
  const db = new Database(file);
  db.exec('UPDATE message SET digest = randomblob(32), at = 0');
  db.close();
  spoilPage(file, pagesOf(file, 'unknown')[0] ?? 0, 'garbage', random(t));
  assert.notEqual(rebuildLedger(file, 2000).kept, undefined);
  const ledger = new SqliteLedger(file);
  while (ledger.prune(ledger.now() + 0.9 * limits.historyMs));
  for (const [number, id] of ids.entries()) {
    const known = await ledger.known({ key: '', id }, [address(number)], digest);
    assert.ok(known.has(address(number)), id);
  }
  ledger.close();
});

test('a proxy that may not write to its ledger ends with 77', needs('root'), async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'ledger.db');
  new SqliteLedger(file).close();
  const args = ['--listen', '127.0.0.1:0', '--backend', 'discard', '--ledger', file];
  const account = { uid: 65_534, gid: 65_534 };
  const env = { GMAIL_SECRET_KEY: road.key };
  const { code, stderr } = await appengineMailerAs(road, account, ['proxy', ...args], env).ended;
  assert.equal(code, 77, stderr);
  assert.match(stderr, /cannot use \S+ledger\.db: /);
});

test('law 6: a proxy with a damaged ledger does not start and says what to do; fsck says what is lost', async (t) => {
  const choice = random(t);
  const { file } = await fullLedger(t, choice);
  const pages = [pagesOf(file, 'sqlite_schema')[0] ?? 0, pagesOf(file, 'recipient')[2] ?? 0];
  for (const page of pages) spoilPage(file, page, 'garbage', choice);
  const proxy = () =>
    appengineMailer(
      t,
      ['proxy', '--listen', '127.0.0.1:0', '--backend', 'discard', '--ledger', file],
      {
        env: { GMAIL_SECRET_KEY: 'a secret key' },
      },
    );
  const refused = await proxy().ended;
  assert.equal(refused.code, 74);
  assert.match(refused.stderr, /To do: stop the proxy; appengine-mailer ledger fsck --ledger \S+;/);
  const fsck = async () =>
    appengineMailer(t, ['ledger', 'fsck', '--ledger', file], { input: '' }).ended;
  const list = await appengineMailer(t, ['ledger', '--ledger', file], { input: '' }).ended;
  assert.equal(list.code, 74, list.stderr);
  assert.match(list.stderr, /To do: stop the proxy; appengine-mailer ledger fsck --ledger \S+;/);
  const { code, stderr } = await fsck();
  assert.equal(code, 1, stderr);
  assert.match(
    stderr,
    /is repaired: some recipients may already have their message .* listed as unknown; the damaged file is \S+\n$/,
  );
  const running = proxy();
  await running.says(/proxy listens on/);
  const beside = await fsck();
  assert.equal(beside.code, 75);
  assert.match(
    beside.stderr,
    /systemctl stop appengine-mailer-proxy\.socket appengine-mailer-proxy\n$/,
  );
  await running.stop();
  assert.equal((await fsck()).code, 0);
});

test('fsck refuses a file that is no ledger', async (t) => {
  const file = join(scratch(t), 'mail.sh');
  writeFileSync(file, '#!/bin/sh\n');
  const fsck = await appengineMailer(t, ['queue', 'fsck', '--ledger', file], { input: '' }).ended;
  assert.equal(fsck.code, 64);
  assert.match(
    fsck.stderr,
    /mail\.sh is no ledger: it is no database, and has no \S+mail\.sh\.lock of a proxy/,
  );
  assert.equal(readFileSync(file, 'utf8'), '#!/bin/sh\n');
  const folder = ['queue', 'fsck', '--ledger', dirname(file)];
  assert.equal((await appengineMailer(t, folder, { input: '' }).ended).code, 74);
});
