import assert from 'node:assert/strict';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { claim } from '../../src/spool/claim.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { operate } from '../../src/spool/operate.ts';
import { rebuildSpool } from '../../src/spool/rebuild-spool.ts';
import { record } from '../../src/spool/record.ts';
import { Spool } from '../../src/spool/spool.ts';
import { countPages, damages, spoilPage } from '../support/damage.ts';
import { figures, LONG } from '../support/figures.ts';
import { handOver } from '../support/hand-over.ts';
import { lookInto } from '../support/look-into.ts';
import { random } from '../support/random.ts';
import { scratch } from '../support/scratch.ts';
import { stored } from '../support/stored.ts';

const MESSAGES = 500;
const ROOTS = 23;
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
    const room = { messages: 120, bytes: 1e9, passingBytes: 0 };
    claim(spool, room, 5000).forEach(({ seq, recipients }, number) => {
      const fate = FATES[number % FATES.length];
      if (!fate) return; // Left as being sent.
      const verdicts = recipients.map(({ position }) => ({ position, ...fate, reason: 'so' }));
      const [lastStatus, lastReason] = [fate.status, 'so'];
      record(
        spool,
        { seq, verdicts, lastStatus, lastReason, charged: true, warnings: 0, dueAt: 9000 },
        6000,
      );
    });
  });
  operate(spool, 'hold', ids[200] ?? '', 7000);
  operate(spool, 'delete', ids[201] ?? '', 7000);
  spool.close();
  return folder;
}

const FATES = [
  { state: 'sent', status: '2.0.0' },
  { state: 'failed', status: '5.0.0' },
  { state: 'pending', status: '4.0.0' },
  undefined,
] as const;

for (const damage of damages) {
  test(`law 3, law 7, law 8: whatever page is ${damage}, fsck keeps or names every message`, (t) => {
    const choice = random(t);
    const folder = spoolWithAll(t);
    const before = new Map(lookInto(folder).messages.map((message) => [message.id, message]));
    const bytes = new Map(stored(folder).map((message) => [message.id, message.bytes]));
    const pages = countPages(join(folder, 'spool.db'));
    const seen = { rebuilt: 0, lost: 0, held: 0 };
    // The roots of all trees are in front.
    const isTried = (page: number) => LONG || choice.below(page <= ROOTS ? 2 : 40) === 0;
    for (let page = 1; page <= pages; page += 1) {
      if (!isTried(page)) continue;
      const broken = join(scratch(t), 'spool');
      cpSync(folder, broken, { recursive: true });
      spoilPage(join(broken, 'spool.db'), page, damage, choice);
      const { kept, damaged, lost, notes } = rebuildSpool(broken, 8000);
      const note = `page ${page}`;
      // It fails where the sum of law 8 is not right.
      const { messages, counters } = lookInto(broken);
      assert.deepEqual([counters.accepted, counters.damaged], [MESSAGES, lost], note);
      assert.ok(lost <= damaged.length, `${note}: all that is lost is named`);
      assert.ok(damaged.length <= PAGE_MESSAGES, `${note}: ${damaged.length} are lost`);
      const named = new Set(damaged.map(({ id }) => id));
      const found = new Map(messages.map((message) => [message.id, message]));
      for (const [id, message] of before) {
        const after = found.get(id);
        if (!after) {
          const isOver = ['sent', 'deleted'].includes(message.state);
          assert.ok(isOver || named.has(id), `${note}: ${id}, which was ${message.state}, is gone`);
        } else if (notes.some((each) => each.includes(id))) {
          assert.ok(after.state === 'held' || message.state === 'failed', note);
          seen.held += 1;
        } else {
          const same = (each: typeof after) => [each.state, each.sender, each.eximId, each.dueAt];
          assert.deepEqual(same(after), same(message), note);
          const told = (each: typeof after) => each.recipients.map(({ address }) => address);
          assert.deepEqual(told(after), told(message), note);
        }
      }
      assert.deepEqual(
        [...found.keys()].filter((id) => !before.has(id)),
        [],
        `${note}: made up`,
      );
      for (const { id, bytes: after } of stored(broken)) {
        if (after.length > 0)
          assert.ok(after.equals(bytes.get(id) ?? after), `${note}: bytes of ${id}`);
      }
      assert.deepEqual(rebuildSpool(broken, 9000).faults, [], note);
      if (kept !== undefined) seen.rebuilt += 1;
      seen.lost += damaged.length;
      rmSync(broken, { recursive: true });
    }
    figures(t, `a broken page of the spool, ${damage}`, { pages, ...seen });
    assert.ok(seen.rebuilt > 5 && seen.lost > 0, JSON.stringify(seen));
  });
}
