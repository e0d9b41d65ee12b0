import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import {
  DatabaseUnusableError,
  openDatabase,
  type Format,
} from '../../src/sqlite/open-database.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { migrations } from '../../src/spool/schema.ts';
import { Spool, type Access } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { account } from '../support/account.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { needs } from '../support/needs.ts';
import { bsmtp, Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

const everyAccess: Access[] = ['drain', 'pipe', 'operator'];

const pragma = (spool: Spool, name: string) => spool.db.pragma(name, { simple: true });

for (const access of ['drain', 'pipe'] as const) {
  test(`${access} makes a spool of the newest schema, and opening it again does no harm`, (t) => {
    const { folder } = freshSpool(t, access);
    for (const again of everyAccess) {
      const spool = new Spool(folder, again);
      assert.equal(pragma(spool, 'user_version'), migrations.length);
      if (again === 'drain') enqueue(spool, handOver(), 1);
      assert.equal(stats(spool).counters.accepted, 1, 'what was stored is still there');
      spool.close();
    }
  });
}

test('an operator makes no spool', (t) => {
  assert.throws(() => new Spool(scratch(t), 'operator'), /unable to open database file/);
});

function assertDurable(spool: Spool): void {
  assert.equal(pragma(spool, 'synchronous'), 2, 'FULL');
  assert.equal(pragma(spool, 'journal_mode'), 'wal');
  assert.equal(pragma(spool, 'auto_vacuum'), 2, 'INCREMENTAL');
  assert.equal(pragma(spool, 'foreign_keys'), 1);
}

for (const access of everyAccess) {
  test(`${access} has synchronous=FULL and all else that is durable, also on reopening (law 1)`, (t) => {
    const opened = freshSpool(t);
    const { folder } = opened;
    const beside = new Spool(folder, access);
    assertDurable(beside);
    beside.close();
    opened.close();
    const alone = new Spool(folder, access);
    t.after(() => alone.close());
    assertDurable(alone);
    enqueue(alone, handOver(), 1);
    assertDurable(alone);
  });
}

test('a spool of a newer schema is refused by everybody, in a clear sentence, and left alone', (t) => {
  const { folder, db } = freshSpool(t);
  db.pragma(`user_version = ${migrations.length + 7}`);
  for (const access of everyAccess) {
    assert.throws(
      () => new Spool(folder, access),
      (error) =>
        error instanceof DatabaseUnusableError &&
        /spool\.db has schema \d+ .* knows schemas up to \d+: .* newer .*; install/.test(
          error.message,
        ),
      access,
    );
  }
  assert.equal(db.pragma('user_version', { simple: true }), migrations.length + 7);
});

test('exim-pipe leaves a newer spool alone with 75, and the queue command with 74', async (t) => {
  const road = new Road(t);
  const spool = new Spool(road.spool, 'drain');
  spool.db.pragma('user_version = 99');
  spool.close();
  const { code, stdout } = await road.pipe('1abc-0', bsmtp('', ['a@b'], 'x\n'));
  assert.equal(code, 75);
  assert.match(stdout.toString(), /^not queued, try again later: the spool .* has schema 99 .*\n$/);
  const queue = await road.queue('list');
  assert.equal(queue.code, 74);
  assert.match(queue.stderr, /has schema 99/);
});

/** A format of two migrations, as the programs open it. */
const first = 'CREATE TABLE kept (what TEXT); INSERT INTO kept VALUES (1);';
const second = 'ALTER TABLE kept ADD COLUMN more TEXT; INSERT INTO kept VALUES (2, 2);';
const format = (access: Access, ...steps: string[]): Format => ({
  name: 'spool',
  migrations: steps,
  migrate: access === 'drain',
  create: access !== 'operator',
});

function oldFile(t: TestContext): string {
  const file = join(scratch(t), 'spool.db');
  openDatabase(file, format('drain', first)).close();
  return file;
}

function version(file: string): unknown {
  const db = new Database(file);
  const found = db.pragma('user_version', { simple: true });
  db.close();
  return found;
}

for (const access of ['pipe', 'operator'] as const) {
  test(`${access} refuses a spool of an older schema and says what brings it up to date`, (t) => {
    const file = oldFile(t);
    assert.throws(
      () => openDatabase(file, format(access, first, second)),
      (error) =>
        error instanceof DatabaseUnusableError &&
        /has schema 1 and this program needs 2: start the service once/.test(error.message),
    );
    assert.equal(version(file), 1);
  });
}

test('drain brings an older spool up to date, once, and then everybody opens it', (t) => {
  const file = oldFile(t);
  for (const access of ['drain', 'drain', 'pipe', 'operator'] as const) {
    const db = openDatabase(file, format(access, first, second));
    assert.deepEqual(db.prepare('SELECT * FROM kept').all(), [
      { what: '1', more: null },
      { what: '2', more: '2' },
    ]);
    db.close();
  }
  assert.equal(version(file), 2);
});

test('a migration that fails leaves the file as it was', (t) => {
  const file = oldFile(t);
  assert.throws(() => openDatabase(file, format('drain', first, `${second} nonsense`)), /syntax/);
  const db = openDatabase(file, format('drain', first));
  t.after(() => db.close());
  assert.deepEqual(db.prepare('SELECT * FROM kept').all(), [{ what: '1' }]);
});

test('an operator refuses an empty file: somebody was interrupted while making it', (t) => {
  const file = join(scratch(t), 'spool.db');
  new Database(file).close();
  assert.throws(
    () => openDatabase(file, format('operator', first)),
    /has schema 0 .* start the service once/,
  );
});

test('a file that is not a database, or not a file, is refused and kept', (t) => {
  const folder = scratch(t);
  const db = new Database(join(folder, 'other.db'));
  db.exec('CREATE TABLE message (x)');
  db.close();
  // Somebody's own database has no schema of ours to add to.
  assert.throws(() =>
    openDatabase(join(folder, 'other.db'), format('pipe', 'CREATE TABLE message (y)')),
  );
  mkdirSync(join(folder, 'spool.db'));
  assert.throws(
    () => openDatabase(join(folder, 'spool.db'), format('pipe', first)),
    /is not a regular file/,
  );
});

for (const access of everyAccess) {
  test(`${access} leaves alone the database that a link in the spool's place leads to`, (t) => {
    const folder = scratch(t);
    const elsewhere = join(folder, 'elsewhere.db');
    const theirs = new Database(elsewhere);
    theirs.exec('CREATE TABLE kept (what)');
    theirs.close();
    const before = readFileSync(elsewhere);
    const file = join(folder, 'spool.db');
    symlinkSync(elsewhere, file);
    assert.throws(() => openDatabase(file, format(access, first)), /is not a regular file/);
    assert.ok(readFileSync(elsewhere).equals(before));
  });
}

test(
  'root makes no file of the folder’s owner out of one of its own that has another name there (law 14)',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    chmodSync(road.folder, 0o711);
    chownSync(road.spool, uid, gid);
    const secret = join(road.folder, 'secret');
    writeFileSync(secret, '', { mode: 0o600 });
    const file = join(road.spool, 'spool.db');
    linkSync(secret, file);
    const refused = await road.pipe('1abc', bsmtp('', ['r@example.org'], 'x\n'));
    assert.equal(refused.code, 75);
    const kept = statSync(secret);
    assert.deepEqual([kept.uid, kept.mode & 0o777, kept.size], [0, 0o600, 0]);

    rmSync(file);
    assert.equal((await road.pipe('1abc', bsmtp('', ['r@example.org'], 'x\n'))).code, 0);
    const made = statSync(file);
    assert.deepEqual([made.uid, made.gid, made.mode & 0o777], [uid, gid, 0o660]);
  },
);
