import assert from 'node:assert/strict';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { foreignSchema } from '../../src/sqlite/schema-faults.ts';
import { ledgerSchema } from '../../src/proxy/ledger/sqlite/ledger-schema.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { signedPost } from '../support/signed-post.ts';

// A member of the group may write into spool.db and ledger.db, and so change their schemas.

function change(file: string, sql: string): void {
  const db = new Database(file);
  db.exec(sql);
  db.close();
}

/** A trigger that forbids something, and one that asks for what an untrusted schema may not do. */
const triggers = {
  'that forbids': `BEGIN SELECT raise(ABORT, 'no'); END`,
  'that calls an unsafe function': `BEGIN SELECT load_extension('x'); END`,
};

for (const [what, does] of Object.entries(triggers)) {
  test(`a trigger ${what}, added to the spool: the error names it and says what to do, and that helps`, async (t) => {
    const road = new Road(t);
    const [id = ''] = handIn(road.spool, [{}]);
    const on = ['UPDATE ON message', 'INSERT ON recipient'];
    const sql = on.map((event, nth) => `CREATE TRIGGER evil${nth} BEFORE ${event} ${does};`);
    change(join(road.spool, 'spool.db'), sql.join(''));
    const hold = await road.queue('hold', id);
    assert.equal(hold.code, 74);
    assert.match(
      hold.stderr,
      /\(trigger evil0, trigger evil1\)\. To do: .*appengine-mailer queue fsck --spool \S+;/,
    );
    const handed = await road.pipe('1abc', bsmtp('', ['r@a.example'], 'x\n'));
    assert.equal(handed.code, 75);
    assert.match(handed.stdout.toString(), /To do: appengine-mailer queue fsck --check\n$/);
    const looked = await road.queue('fsck', '--check');
    assert.equal(looked.code, 1);
    assert.match(
      looked.stdout.toString(),
      /not what its schema .* \(trigger evil0, trigger evil1\)/,
    );
    assert.equal((await road.queue('fsck')).code, 1);
    assert.equal((await road.queue('hold', id)).code, 0);
    assert.equal((await road.pipe('1abc', bsmtp('', ['r@a.example'], 'x\n'))).code, 0);
  });

  test(`a trigger ${what}, added to the ledger: the error names it and says what to do, and that helps`, async (t) => {
    const road = new Road(t);
    const file = join(road.folder, 'ledger.db');
    const proxy = await road.proxy();
    change(file, `CREATE TRIGGER evil BEFORE INSERT ON recipient ${does}`);
    const post = { key: road.key, recipients: ['a@example.org'] };
    assert.equal((await signedPost(road.address, post)).status, 503);
    await proxy.says(/\(trigger evil\)\. To do: stop the proxy; .*ledger fsck --ledger/);
    await proxy.stop();
    const args = ['ledger', 'fsck', '--ledger', file];
    const { code, stdout } = await appengineMailer(t, args, { input: '' }).ended;
    assert.equal(code, 1);
    assert.match(stdout.toString(), /trigger evil/);
    await road.proxy();
    assert.equal((await signedPost(road.address, post)).status, 200);
  });
}

/** What drain meets on its way, and already when it starts. */
test('a trigger that is added to the spool while drain runs: it says what to do; when it starts, it has that done', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const drain = road.drain();
  await drain.says(/started/);
  const add = (does: string) => {
    change(join(road.spool, 'spool.db'), `CREATE TRIGGER evil BEFORE UPDATE ON message ${does}`);
  };
  add(triggers['that forbids']);
  handIn(road.spool, [{}]);
  await drain.says(
    /nothing is sent: no; .* \(trigger evil\) \(to do: .*appengine-mailer queue fsck --spool \S+;/,
  );
  assert.equal((await drain.stop()).code, 0);
  assert.equal((await road.queue('fsck')).code, 1);
  add(triggers['that calls an unsafe function']);
  const next = road.drain();
  await next.says(/ \(trigger evil\); it will be repaired/);
  await next.says(/> sent \(2\./);
});

test('a view that is added is found by queue fsck, and hinders nobody', async (t) => {
  const road = new Road(t);
  const [id = ''] = handIn(road.spool, [{}]);
  change(join(road.spool, 'spool.db'), `CREATE VIEW evil AS SELECT load_extension('x')`);
  assert.equal((await road.queue('hold', id)).code, 0);
  assert.match((await road.queue('fsck', '--check')).stdout.toString(), /\(view evil\)/);
});

test('law 6: looking for changes of others in a schema changes nothing in the file, nor in its log', async (t) => {
  const folder = scratch(t);
  const [file, copy] = [join(folder, 'ledger.db'), join(folder, 'copy.db')];
  const ledger = new SqliteLedger(file);
  t.after(() => ledger.close());
  await ledger.begin({ key: '', id: 'one' }, Buffer.alloc(32), ['r@example.org']);
  // As a crash leaves it: the log has what the file has not.
  for (const end of ['', '-wal']) copyFileSync(`${file}${end}`, `${copy}${end}`);
  const bytes = () => ['', '-wal'].map((end) => readFileSync(`${copy}${end}`));
  const before = bytes();
  assert.ok((before[1]?.length ?? 0) > 0);
  foreignSchema(new Database.SqliteError('x', 'SQLITE_ERROR'), copy, ledgerSchema);
  assert.deepEqual(bytes(), before);
});
