import assert from 'node:assert/strict';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { limits } from '../../src/limits.ts';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { listMessages } from '../../src/spool/list.ts';
import { operate } from '../../src/spool/operate.ts';
import { rebuildSpool } from '../../src/spool/recover/rebuild-spool.ts';
import { record } from '../../src/spool/record.ts';
import { Spool } from '../../src/spool/spool.ts';
import { countPages, damages, pagesOf, spoilPage } from '../support/damage.ts';
import { figures, LONG } from '../support/figures.ts';
import { handOver } from '../support/hand-over.ts';
import { lookInto } from '../support/look-into.ts';
import { random } from '../support/random.ts';
import { scratch } from '../support/scratch.ts';
import { stored } from '../support/stored.ts';

const MESSAGES = 500;
const ROOTS = 30;
/** Of no message more is lost than was on the page. */
const PAGE_MESSAGES = 25;

/** A spool with messages of all states and sizes, in the file itself. */
function spoolWithAll(t: TestContext): string {
  const folder = join(scratch(t), 'spool');
  mkdirSync(folder);
  const spool = new Spool(folder, 'drain');
  const ids: string[] = [];
  spool.transaction(() => {
    for (let number = 0; number < MESSAGES; number += 1) {
      const recipients = Array.from(
        { length: 1 + (number % 3) },
        (_, at) => `r${number}-${at}@x.example`,
      );
      const lines = number % 10 === 0 ? 500 : 10 + (number % 50);
      const message = `Subject: ${number}\n\n${'a line of text\n'.repeat(lines)}`;
      const sender = `s${number}@example.com`;
      ids.push(
        enqueue(spool, handOver({ eximId: `1x-${number}`, sender, recipients, message }), number)
          .id,
      );
    }
    const room = { messages: 120, bytes: 1e9, bypassBytes: 0 };
    claim(spool, room, 5000).forEach(({ seq, recipients }, number) => {
      const fate = FATES[number % FATES.length];
      if (!fate) return; // Left as being sent.
      const verdicts = recipients.map(({ position }) => ({ position, ...fate, reason: 'so' }));
      const [lastStatus, lastReason] = [fate.status, 'so'];
      const rest = { lastStatus, lastReason, charged: true, warnings: 0, dueAt: 9000 };
      record(spool, [{ seq, verdicts, ...rest }], 6000);
    });
  });
  operate(spool, ids[200] ?? '', { verb: 'hold', now: 7000 });
  operate(spool, ids[201] ?? '', { verb: 'delete', now: 7000 });
  spool.close();
  return folder;
}

const FATES = [
  { state: 'sent', status: '2.0.0' },
  { state: 'failed', status: '5.0.0' },
  { state: 'pending', status: '4.0.0' },
  undefined,
] as const;

/** What a spool holds. */
function look(folder: string) {
  const { messages, counters } = lookInto(folder);
  const bytes = new Map(stored(folder).map((message) => [message.id, message.bytes]));
  return { messages: new Map(messages.map((message) => [message.id, message])), counters, bytes };
}

/** Repairs a spool and compares it with what it was: each message is as it was, or named. */
function repair(broken: string, before: ReturnType<typeof look>, note: string) {
  const { kept, damaged, lost, notes } = rebuildSpool(broken, 8000);
  // It fails where the sum of law 8 is not right.
  const { messages, counters, bytes } = look(broken);
  assert.deepEqual([counters.accepted, counters.damaged], [MESSAGES, lost], note);
  assert.ok(lost <= damaged.length, `${note}: all that is lost is named`);
  const named = new Set(damaged.map(({ id }) => id));
  let held = 0;
  for (const [id, message] of before.messages) {
    const after = messages.get(id);
    const isOver = ['sent', 'deleted'].includes(message.state);
    if (!after) {
      assert.ok(isOver || named.has(id), `${note}: ${id}, which was ${message.state}, is gone`);
    } else if (notes.some((each) => each.includes(id))) {
      assert.ok(after.state === 'held' || message.state === 'failed', note);
      held += 1;
    } else {
      const same = (each: typeof after) => [
        [each.state, each.sender, each.eximId, each.dueAt === null],
        isOver || each.recipients.map(({ address, state }) => [address, state]),
      ];
      assert.deepEqual(same(after), same(message), note);
    }
  }
  for (const [id, after] of bytes) {
    const was = before.bytes.get(id);
    assert.ok(was, `${note}: ${id} is made up`);
    if (after.length > 0) assert.ok(after.equals(was), `${note}: bytes of ${id}`);
  }
  const early = [...messages.values()].filter(
    ({ state, expiresAt }) => state === 'queued' && (expiresAt ?? Infinity) < limits.lifetimeMs,
  );
  assert.deepEqual(early, [], `${note}: given up before its time`);
  assert.equal(unreported(broken), 0, `${note}: of a failure nobody is told`);
  assert.deepEqual(rebuildSpool(broken, 9000).faults, [], note);
  return { rebuilt: Number(kept !== undefined), lost: damaged.length, held };
}

/** How many messages failed a recipient and owe no report (law 7). */
function unreported(folder: string): unknown {
  const db = new Database(join(folder, 'spool.db'), { readonly: true });
  const sql = `SELECT count(DISTINCT message) FROM recipient
    WHERE state = 'failed' AND message NOT IN (SELECT message FROM notice WHERE kind = 'failure')`;
  const messages = db.prepare(sql).pluck().get();
  db.close();
  return messages;
}

for (const damage of damages) {
  test(`law 3, law 7, law 8: whatever page is ${damage}, fsck keeps or names every message`, (t) => {
    const choice = random(t);
    const folder = spoolWithAll(t);
    const before = look(folder);
    const pages = countPages(join(folder, 'spool.db'));
    const seen = { rebuilt: 0, lost: 0, held: 0 };
    // The roots of all trees are in front.
    const isTried = (page: number) => LONG || choice.below(page <= ROOTS ? 2 : 20) === 0;
    for (let page = 1; page <= pages; page += 1) {
      if (!isTried(page)) continue;
      const broken = join(scratch(t), 'spool');
      cpSync(folder, broken, { recursive: true });
      spoilPage(join(broken, 'spool.db'), page, damage, choice);
      const { rebuilt, lost, held } = repair(broken, before, `page ${page}`);
      assert.ok(lost <= PAGE_MESSAGES, `page ${page}: ${lost} are lost`);
      seen.rebuilt += rebuilt;
      seen.lost += lost;
      seen.held += held;
      rmSync(broken, { recursive: true });
    }
    figures(t, `a broken page of the spool, ${damage}`, { pages, ...seen });
    assert.ok(seen.rebuilt > 3 && seen.lost > 0, JSON.stringify(seen));
  });
}

test('law 5: where times and the outages of the endpoint are lost, fsck gives what waits a new lifetime', (t) => {
  const folder = spoolWithAll(t);
  const file = join(folder, 'spool.db');
  const db = new Database(file);
  db.exec(`UPDATE message SET renewed_at = 0, outage_ms = 1e9 WHERE state = 'queued'`);
  db.close();
  spoilPage(file, pagesOf(file, 'endpoint')[0] ?? 0, 'zeros', random(t));
  rebuildSpool(folder, 1e12);
  const spool = new Spool(folder, 'operator');
  const now = spool.now();
  const queued = [...listMessages(spool, { states: ['queued'] }, now)];
  spool.close();
  assert.ok(queued.length > 100);
  const ends = new Set(queued.map(({ attempts, expiresAt }) => attempts > 0 && expiresAt));
  assert.deepEqual(ends, new Set([false, now + limits.lifetimeMs]));
});

test('law 7: of recipients that are lost with their index, fsck names or holds the message', (t) => {
  const choice = random(t);
  const folder = spoolWithAll(t);
  const before = look(folder);
  const file = join(folder, 'spool.db');
  // Recipients of some messages are at the end of a page, and the rest on the next.
  const [, ...rows] = pagesOf(file, 'recipient');
  const [, ...index] = pagesOf(file, 'sqlite_autoindex_recipient_2');
  const seen = { rebuilt: 0, lost: 0, held: 0 };
  for (const page of LONG ? rows : rows.slice(0, 3)) {
    for (const other of index) {
      const broken = join(scratch(t), 'spool');
      cpSync(folder, broken, { recursive: true });
      for (const each of [page, other]) {
        spoilPage(join(broken, 'spool.db'), each, 'zeros', choice);
      }
      const { rebuilt, lost, held } = repair(broken, before, `pages ${page} and ${other}`);
      seen.rebuilt += rebuilt;
      seen.lost += lost;
      seen.held += held;
      rmSync(broken, { recursive: true });
    }
  }
  assert.ok(seen.held > 0 && seen.lost > 0, JSON.stringify(seen));
});
