import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { operate } from '../../src/spool/operate.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { inspectSpool } from '../../src/spool/recover/inspect-spool.ts';
import { migrations } from '../../src/spool/schema.ts';
import { Spool, spoolFile } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { inCheckout } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';

/** A spool with one queued message for two recipients: number 1. */
function spoolWithMessage(t: TestContext): { spool: Spool; id: string } {
  const spool = freshSpool(t);
  const given = handOver({ recipients: ['a@example.org', 'b@example.org'] });
  return { spool, id: enqueue(spool, given, 1000).id };
}

test('the schema is the one of schema.golden.sql: each change of it needs a migration', (t) => {
  const objects = freshSpool(t)
    .sql<{ sql: string }>('SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid')
    .all();
  const dump = objects.map(({ sql }) => `${sql};\n`).join('\n');
  assert.equal(dump, readFileSync(inCheckout('test/spool/schema.golden.sql'), 'utf8'));
});

const sent = `state = 'sent', status = '2.0.0', reason = 'ok'`;
const finished = `due_at = NULL, finished_at = 5`;

/** Changes of a sound message that are sound, so that it is not just anything that is refused. */
const legal: [what: string, sql: string][] = [
  ['queued again', `UPDATE message SET due_at = 7, posted_at = 3, attempts = 2, deferrals = 1`],
  ['held', `UPDATE message SET state = 'held', due_at = NULL`],
  ['sending', `UPDATE message SET state = 'sending', due_at = NULL, posted_at = 4`],
  ...['sent', 'failed', 'bounced', 'deleted'].map((state): [string, string] => [
    state,
    `UPDATE message SET state = '${state}', ${finished}`,
  ]),
  ['a status', `UPDATE message SET last_status = '4.4.1', last_reason = 'down'`],
  ['a recipient put off', `UPDATE recipient SET status = '4.2.2', reason = 'full'`],
  ['a recipient sent', `UPDATE recipient SET ${sent}`],
  ['one failed', `UPDATE recipient SET state = 'failed', status = '5.1.1', reason = 'no'`],
  ['one bounced', `UPDATE recipient SET state = 'bounced', status = '5.1.1', reason = 'no'`],
  ['one deleted', `UPDATE recipient SET state = 'deleted'`],
  ['an outage', `UPDATE endpoint SET down_since = 1, reason = 'refused', asks_at = 2`],
  ['an attempt', event('attempt', '4.2.2', 'full')],
  ['an attempt that does not count', event('postponed', '4.4.1', 'down')],
  ['a hold', event('hold')],
  ['what Exim did not take', event('kept', undefined, 'no room')],
];
for (const [what, sql] of legal) {
  test(`taken: ${what}`, (t) => {
    const { spool } = spoolWithMessage(t);
    assert.ok(spool.db.prepare(sql).run().changes > 0);
  });
}

const illegal: [what: string, sql: string][] = [
  ['a short id', `UPDATE message SET id = 'ab'`],
  ['an id in capitals', `UPDATE message SET id = '0123456789ABCDEF0123456789ABCDEF'`],
  ['no Exim id', `UPDATE message SET exim_id = ''`],
  ['a long Exim id', `UPDATE message SET exim_id = '${'a'.repeat(65)}'`],
  ['an Exim id with a line break', `UPDATE message SET exim_id = 'a' || char(10) || 'b'`],
  ['an Exim id that is a path', `UPDATE message SET exim_id = '../b'`],
  ['half a digest', `UPDATE message SET digest = x'00'`],
  ['no digest', `UPDATE message SET digest = NULL`],
  ['a sender that is text', `UPDATE message SET sender = 'text'`],
  ['no sender', `UPDATE message SET sender = NULL`],
  ['a negative size', `UPDATE message SET size = -1`],
  ['a size that is text', `UPDATE message SET size = 'large'`],
  ['an invalid state', `UPDATE message SET state = 'lost', due_at = NULL`],
  ['no state', `UPDATE message SET state = NULL, due_at = NULL`],
  ['queued without a due time', `UPDATE message SET due_at = NULL`],
  ['held with a due time', `UPDATE message SET state = 'held'`],
  ['sending with a due time', `UPDATE message SET state = 'sending', posted_at = 1`],
  ['sent with a due time', `UPDATE message SET state = 'sent', finished_at = 5`],
  ['sent without its end', `UPDATE message SET state = 'sent', due_at = NULL`],
  ['queued with an end', `UPDATE message SET finished_at = 5`],
  ['held with an end', `UPDATE message SET state = 'held', ${finished}`],
  ['negative attempts', `UPDATE message SET attempts = -1, deferrals = -1, posted_at = 1`],
  ['attempts without a post', `UPDATE message SET attempts = 1`],
  ['more deferrals than attempts', `UPDATE message SET deferrals = 1, posted_at = 1`],
  ['negative deferrals', `UPDATE message SET attempts = 1, deferrals = -1, posted_at = 1`],
  ['a negative outage', `UPDATE message SET outage_ms = -1`],
  ['an invalid last status', `UPDATE message SET last_status = '3.0.0', last_reason = ''`],
  ['an SMTP code', `UPDATE message SET last_status = '550', last_reason = ''`],
  ['a last status without a reason', `UPDATE message SET last_status = '4.0.0'`],
  ['a last reason without a status', `UPDATE message SET last_reason = 'why'`],
  ['the same id twice', copyOfMessage('id')],
  ['a recipient pending for good', `UPDATE recipient SET status = '5.1.1', reason = 'no'`],
  ['a recipient pending and sent', `UPDATE recipient SET status = '2.0.0', reason = 'ok'`],
  ['one sent without a status', `UPDATE recipient SET state = 'sent'`],
  ['one sent with 4.x.x', `UPDATE recipient SET ${sent.replace('2.0.0', '4.0.0')}`],
  ['one failed without a status', `UPDATE recipient SET state = 'failed'`],
  [
    'one failed with 4.x.x',
    `UPDATE recipient SET ${sent.replace(`sent', status = '2`, `failed', status = '4`)}`,
  ],
  ['one bounced with 2.x.x', `UPDATE recipient SET ${sent.replace('sent', 'bounced')}`],
  ['an invalid recipient state', `UPDATE recipient SET state = 'lost'`],
  ['a status without a reason', `UPDATE recipient SET status = '4.0.0'`],
  ['a reason without a status', `UPDATE recipient SET reason = 'why'`],
  ['an invalid status', `UPDATE recipient SET status = '4', reason = 'why'`],
  ['an address that is text', `UPDATE recipient SET address = 'a@b' WHERE position = 0`],
  ['a negative position', `UPDATE recipient SET position = -1 WHERE position = 0`],
  ['an address twice', `UPDATE recipient SET address = x'61'`],
  ['a position twice', `UPDATE recipient SET position = 0`],
  [
    'a recipient of no message',
    `INSERT INTO recipient (message, position, address) VALUES (9, 0, x'61')`,
  ],
  ['a body of no message', `INSERT INTO body VALUES (9, 0, x'00')`],
  ['the same part twice', `INSERT INTO body VALUES (1, 0, x'00')`],
  ['a part before the first', `INSERT INTO body VALUES (1, -1, x'00')`],
  ['a part that is text', `INSERT INTO body VALUES (1, 1, 'text')`],
  ['a negative counter', `UPDATE counter SET messages = -1 WHERE name = 'held'`],
  ['a negative counter of bytes', `UPDATE counter SET bytes = -1 WHERE name = 'held'`],
  ['a second endpoint', `INSERT INTO endpoint (only) VALUES (2)`],
  ['an outage without a reason', `UPDATE endpoint SET down_since = 1`],
  ['a reason without an outage', `UPDATE endpoint SET reason = 'why'`],
  ['a time to ask without an outage', `UPDATE endpoint SET asks_at = 1`],
  ['an invalid event', event('lost')],
  ['an attempt without its status', event('attempt')],
  ['a hold with a status', event('hold', '4.2.2', 'full')],
  ['a hold with a reason', event('hold', undefined, 'why')],
  ['an event of no message', event('hold').replace('(1,', '(9,')],
  ['an event that is not numbered', event('hold').replace('1, 5', '0, 5')],
  ['the same number twice', `${event('hold')}, ${event('hold').split('VALUES')[1]}`],
  ['outages below nothing', `UPDATE endpoint SET outage_ms = -1`],
];
for (const [what, sql] of illegal) {
  test(`refused: ${what}`, (t) => {
    const { spool } = spoolWithMessage(t);
    assert.throws(
      () => spool.db.prepare(sql).run(),
      ({ code }: NodeJS.ErrnoException) => code?.startsWith('SQLITE_CONSTRAINT') ?? false,
    );
  });
}

/** One event in the history of the message. */
function event(what: string, status?: string, reason?: string): string {
  const values = [what, status, reason].map((text) => (text === undefined ? 'NULL' : `'${text}'`));
  return `INSERT INTO history VALUES (1, 1, 5, ${values.join()})`;
}

/** A second row of message that differs from the first in everything that must, but for one column. */
function copyOfMessage(same: string): string {
  const columns = ['exim_id', 'digest', 'sender', 'size', 'state', 'queued_at', 'due_at'];
  const list = [same, ...columns, 'renewed_at', 'outage_ms'].join();
  return `INSERT INTO message (${list}) SELECT ${list} FROM message`;
}

test('a message that is not finished cannot be forgotten, a finished one takes all with it', (t) => {
  const { spool, id } = spoolWithMessage(t);
  const forget = () => spool.db.exec('DELETE FROM message');
  const rows = (table: string) => spool.db.prepare(`SELECT * FROM ${table}`).all().length;
  assert.throws(forget, /an unfinished message must not be forgotten/, 'queued');
  operate(spool, id, { verb: 'hold', now: 2000 });
  assert.throws(forget, /an unfinished message must not be forgotten/, 'held');
  operate(spool, id, { verb: 'release', now: 3000 });
  spool.transaction(() => claim(spool, { messages: 1, bytes: 1e6, bypassBytes: 0 }, 3000));
  assert.throws(forget, /an unfinished message must not be forgotten/, 'sending');
  assert.deepEqual([rows('message'), rows('body'), rows('recipient')], [1, 1, 2]);

  spool.db.exec(`UPDATE recipient SET state = 'failed', status = '5.0.0', reason = 'no'`);
  spool.db.exec(`UPDATE message SET state = 'failed', finished_at = 4000`);
  forget();
  assert.deepEqual([rows('message'), rows('body'), rows('recipient')], [0, 0, 0]);
});

test('counters outlive the rows (law 8)', (t) => {
  const { spool, id } = spoolWithMessage(t);
  operate(spool, id, { verb: 'delete', now: 2000 });
  spool.db.exec('DELETE FROM message');
  const { counters, bytes } = stats(spool);
  const size = Buffer.concat(handOver().pieces).length;
  for (const [counted, one] of [
    [counters, 1],
    [bytes, size],
  ] as const) {
    const { accepted, deleted, ...others } = counted;
    assert.deepEqual([accepted, deleted], [one, one]);
    assert.ok(Object.values(others).every((count) => count === 0));
  }
});

test('an older spool is given the bytes of what is there, and counts on from them (law 8)', (t) => {
  const folder = scratch(t);
  const old = openDatabase(spoolFile(folder), {
    name: 'spool',
    migrations: migrations.slice(0, 6),
    migrate: true,
    create: true,
  });
  const add = old.prepare(
    `INSERT INTO message (id, exim_id, digest, sender, size, state, queued_at, due_at, renewed_at, outage_ms, finished_at)
     VALUES (lower(hex(randomblob(16))), 'x', randomblob(32), x'73', :size, :state, 0, iif(:state = 'queued', 0, NULL),
       0, 0, iif(:state = 'sent', 0, NULL))`,
  );
  for (const size of [1, 20]) add.run({ state: 'queued', size });
  for (const size of [300, 4000]) add.run({ state: 'sent', size });
  old.exec('DELETE FROM message WHERE size = 4000');
  old.close();

  const spool = new Spool(folder, 'drain');
  t.after(() => spool.close());
  enqueue(spool, handOver({ message: 'five!' }), 1);
  const { counters, bytes } = stats(spool);
  assert.deepEqual([counters.accepted, counters.queued, counters.sent], [5, 3, 2]);
  assert.deepEqual([bytes.accepted, bytes.queued, bytes.sent], [326, 26, 300]);
  assert.deepEqual(
    inspectSpool(spool.db).filter((fault) => /count|law 8/.test(fault)),
    [],
  );
});

test('what the counters say is held against the rows, in messages and in bytes (law 8)', (t) => {
  const { spool } = spoolWithMessage(t);
  spool.db.exec(`UPDATE counter SET bytes = bytes + 7 WHERE name IN ('accepted', 'queued')`);
  const size = Buffer.concat(handOver().pieces).length;
  assert.deepEqual(inspectSpool(spool.db), [
    `${size + 7} bytes are counted as queued and ${size} are there`,
  ]);
});

test('a size that is damaged stops nothing: neither its message nor the counters', (t) => {
  const { spool, id } = spoolWithMessage(t);
  spool.db.exec('UPDATE message SET size = 9223372036854775807');
  assert.equal(operate(spool, id, { verb: 'hold', now: 2000 }), 'done');
  assert.equal(operate(spool, id, { verb: 'release', now: 3000 }), 'done');
  assert.equal(stats(spool).counters.queued, 1);
});

// Postfix gives a queue id again, so that a command may hit another message.
test('the number of a message is never given again, even when all are forgotten', (t) => {
  const { spool, id } = spoolWithMessage(t);
  const last = () => spool.sql<{ seq: number }>('SELECT max(seq) AS seq FROM message').get()?.seq;
  assert.equal(last(), 1);
  operate(spool, id, { verb: 'delete', now: 2000 });
  spool.db.exec('DELETE FROM message');
  enqueue(spool, handOver(), 3000);
  assert.equal(last(), 2);
});
