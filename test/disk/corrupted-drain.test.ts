import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { pagesOf, spoilPage } from '../support/damage.ts';
import { statuses } from '../../src/mail/enhanced-status.ts';
import { holdForOperator } from '../../src/spool/hold-for-operator.ts';
import { Spool } from '../../src/spool/spool.ts';
import { faultLibrary } from '../support/fault-library.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { random } from '../support/random.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { until } from '../support/until.ts';

const MESSAGES = 40;
const LARGE = 20;

/** A road whose spool has messages enough for trees of some pages, all of them in the file itself. */
function roadWithMail(t: TestContext): { road: Road; file: string; ids: string[] } {
  const road = new Road(t);
  const mails = Array.from({ length: MESSAGES }, (_, number) => ({
    recipients: [`r${number}@example.org`],
    bytes: `Subject: ${number}\n\n${'x'.repeat(number === LARGE ? 50_000 : 3000)}\n`,
  }));
  const ids = handIn(road.spool, mails);
  return { road, file: join(road.spool, 'spool.db'), ids };
}

test('law 3, law 7: a message that has lost bytes is held and named, the others go out; fsck counts it', async (t) => {
  const { road, file, ids } = roadWithMail(t);
  const id = ids[LARGE] ?? '';
  const pages = pagesOf(file, 'body', { overflow: true });
  spoilPage(file, pages[5] ?? 0, 'garbage', random(t));
  await road.proxy();
  const drain = road.drain();
  await drain.says(/> (?:was sent before|sent) \(/, MESSAGES - 1);
  const [line] = await drain.says(/^.*is damaged and held.*$/m);
  assert.ok(line.includes(id), line);
  assert.match(
    line,
    /To do: systemctl stop appengine-mailer; appengine-mailer queue fsck --spool \S+;/,
  );
  const besides = await road.queue('fsck');
  assert.equal(besides.code, 75);
  assert.match(besides.stderr, /a drain is at work on \S+: systemctl stop appengine-mailer\n$/);
  await drain.stop();
  assert.deepEqual(
    (await road.messages('--state', 'held')).map((message) => message['id']),
    [id],
  );
  assert.match(String((await road.queue('explain', id)).stdout), /it is damaged: /);
  assert.equal(road.deliveries().length, MESSAGES - 1);

  const look = await road.queue('fsck', '--check');
  assert.equal(look.code, 1);
  assert.match(String(look.stdout), new RegExp(`message ${id}: `));
  const fsck = await road.queue('fsck');
  assert.equal(fsck.code, 1, fsck.stderr);
  const lost = `^lost: message ${id} \\(Exim's test-\\d+\\) from <s@example.com> to <r${LARGE}@example.org>: .+$`;
  assert.match(String(fsck.stdout), new RegExp(lost, 'm'));
  assert.match(
    fsck.stderr,
    /; 1 messages are lost; the damaged file is \S+spool.db.damaged-\d+T\d+Z\n$/,
  );
  const { accepted, damaged, sent } = await road.stats();
  assert.deepEqual([accepted, damaged, sent], [MESSAGES, 1, MESSAGES - 1]);
  assert.equal(readSpool(road.spool).length, MESSAGES - 1);
  const again = await road.queue('fsck');
  assert.equal(again.code, 0, again.stderr);
});

test('law 8: an operator is rid of a message with damaged bytes, which go when the spool is repaired', async (t) => {
  const { road, file, ids } = roadWithMail(t);
  // A page for each of the first, below the root.
  const [id = '', page = 0] = [ids[7], pagesOf(file, 'body')[8]];
  spoilPage(file, page, 'garbage', random(t));
  const removed = await road.queue('delete', id);
  assert.equal(removed.code, 0, removed.stderr);
  const before = await road.stats();
  assert.deepEqual([before['queued'], before['deleted']], [MESSAGES - 1, 1]);
  const fsck = await road.queue('fsck');
  assert.match(fsck.stderr, /; 0 messages are lost;/);
  assert.deepEqual(await road.stats(), before);
  assert.equal(readSpool(road.spool).find((message) => message.id === id)?.bytes, null);
});

/** Pages that all messages need; what is lost with each: messages, and the senders of some. */
for (const [what, place, lost, unsent] of [
  ['message', 1, 0, 'some'],
  ['message_state', 0, 0, 'none'],
  ['recipient', 0, 0, 'none'],
  ['counter', 0, 0, 'none'],
  ['body', 8, 1, 'none'],
  // The page above all others.
  ['body', 0, 0, 'none'],
  ['sqlite_schema', 0, 0, 'none'],
] as const) {
  test(`law 7: a broken page of ${what}: drain has the spool repaired, and the mail goes out`, async (t) => {
    const { road, file } = roadWithMail(t);
    spoilPage(file, pagesOf(file, what)[place] ?? 0, 'zeros', random(t));
    await road.proxy();
    const drain = road.drain();
    await drain.says(/it will be repaired/);
    await drain.says(/was damaged and is repaired/);
    await drain.says(new RegExp(`; ${lost} messages are lost;`));
    const held = [...drain.stderr.matchAll(/ is held: /g)].length;
    await drain.says(/> (?:was sent before|sent) \(/, MESSAGES - held - lost);
    await drain.stop();
    assert.equal(held > 0, unsent === 'some');
    assert.equal(road.deliveries().length, MESSAGES - held - lost);
    const stats = await road.stats();
    assert.deepEqual(
      [stats['accepted'], stats['sent'], stats['held']],
      [MESSAGES, MESSAGES - held - lost, held],
    );
  });
}

test('law 7: a message that was held as damaged and is found whole by a repair is said to be, and released by an operator', async (t) => {
  const { road, file, ids } = roadWithMail(t);
  const spool = new Spool(road.spool, 'operator');
  spool.transaction(() =>
    holdForOperator(spool, LARGE + 1, {
      status: statuses.damaged,
      reason: 'a disk that could not be read for a while',
    }),
  );
  spool.close();
  spoilPage(file, pagesOf(file, 'counter')[0] ?? 0, 'zeros', random(t));
  const { stdout, stderr } = await road.queue('fsck');
  assert.match(stderr, /; 0 messages are lost;/);
  const told = String(stdout).match(/ was held before, and is whole: queue release sends it/g);
  assert.equal(told?.length, 1);
  const released = await road.queue('release', ids[LARGE] ?? '');
  assert.equal(released.code, 0, released.stderr);
  await road.proxy();
  assert.equal((await road.drain(['--once']).ended).code, 0);
  assert.equal(road.deliveries().length, MESSAGES);
});

for (const damage of ['garbage', 'stranger', 'fewer'] as const) {
  test(`law 7: a broken page (${damage}) above the bytes of all messages: drain has it repaired, and all go out by themselves`, async (t) => {
    const { road, file } = roadWithMail(t);
    spoilPage(file, pagesOf(file, 'body')[0] ?? 0, damage, random(t));
    await road.proxy();
    const drain = road.drain();
    await drain.says(/was damaged and is repaired; 0 messages are lost/);
    await drain.says(/> (?:was sent before|sent) \(/, MESSAGES);
    await drain.stop();
    assert.equal(road.deliveries().length, MESSAGES);
    assert.deepEqual(await road.messages('--state', 'held'), []);
    assert.equal((await road.stats())['sent'], MESSAGES);
  });
}

/** How many messages are held, and lost: the neighbours of a lost recipient, if not sent by then, may lack one, too. */
for (const [table, column, held, lost] of [
  ['message', 'sender', 1, 0],
  ['message', 'digest', 1, 0],
  ['recipient', 'address', 2, 1],
] as const) {
  test(`law 7: the ${column} of a row of ${table} reads as NULL: its message is held or named, and other mail goes out`, async (t) => {
    const { road, file } = roadWithMail(t);
    loseColumn(file, table, column);
    await road.proxy();
    const drain = road.drain();
    await drain.says(/> (?:was sent before|sent) \(/, MESSAGES - held - lost);
    await drain.stop();
    await road.queue('fsck');
    const { accepted, damaged } = await road.stats();
    assert.deepEqual([accepted, damaged], [MESSAGES, lost]);
  });
}

/** As a sector of zeros does that begins or ends within a row's header: SQLite reads NULL for these columns. */
function loseColumn(file: string, table: string, column: string): void {
  const declared = (notNull: boolean) => {
    const db = new Database(file);
    db.unsafeMode();
    db.pragma('writable_schema = ON');
    const names = [`${column} BLOB NOT NULL`, `${column} BLOB`];
    const [from, to] = notNull ? names.toReversed() : names;
    db.prepare(
      `UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = ?`,
    ).run(from, to, table);
    db.close();
  };
  declared(false);
  const db = new Database(file);
  db.pragma('ignore_check_constraints = ON');
  const key = table === 'message' ? 'seq' : 'message';
  db.exec(`UPDATE ${table} SET ${column} = NULL WHERE ${key} = ${LARGE}`);
  db.close();
  declared(true);
}

test(
  'law 7: a sector that cannot be read: drain has the spool repaired without it',
  needs('cc'),
  async (t) => {
    const { road, file } = roadWithMail(t);
    const [, , page = 0] = pagesOf(file, 'message');
    const library = await faultLibrary(t, road.folder, 'disk/unreadable.c');
    await road.proxy();
    const drain = road.drain([], {
      LD_PRELOAD: library,
      UNREADABLE_INODE: String(statSync(file).ino),
      UNREADABLE_AT: String((page - 1) * 4096 + 100),
    });
    await drain.says(/was damaged and is repaired/);
    const held = [...drain.stderr.matchAll(/ is held: /g)].length;
    assert.ok(held > 0, drain.stderr);
    await drain.says(/> (?:was sent before|sent) \(/, MESSAGES - held);
    await drain.stop();
  },
);

for (const end of ['', ', also when drain is stopped meanwhile'] as const) {
  test(`every lost message is named in the journal, however many${end}`, async (t) => {
    const road = new Road(t);
    const ids = handIn(
      road.spool,
      Array.from({ length: 3000 }, (_, number) => ({
        recipients: [`${'r'.repeat(60)}${number}@${'example.'.repeat(20)}org`, 'a@b.example'],
      })),
    );
    const file = join(road.spool, 'spool.db');
    const db = new Database(file);
    db.exec('DELETE FROM body');
    db.close();
    spoilPage(file, pagesOf(file, 'counter')[0] ?? 0, 'zeros', random(t));
    const drain = road.drain();
    if (end !== '') {
      await until(
        () => existsSync(`${file}.new`),
        () => drain.stderr,
      );
      await drain.stop();
    }
    await drain.says(/; 3000 messages are lost; the damaged file is/);
    await drain.says(/lost: message \w+ /, ids.length); // Its own stream: they may come later.
    for (const id of ids) assert.ok(drain.stderr.includes(`lost: message ${id} `), id);
    await drain.stop();
  });
}
