import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import {
  batchReport,
  dropEmptyReports,
  dueReports,
  hasPendingReport,
  markRefused,
  reportedMail,
  markReported,
  type PendingReport,
} from '../../src/spool/report.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;

/** Stores messages with so many recipients each. */
function store(spool: Spool, messages: number, recipients: number): void {
  spool.transaction(() => {
    for (let each = 0; each < messages; each += 1) {
      const addresses = Array.from({ length: recipients }, (_, n) => `r${n}@x.example`);
      enqueue(spool, handOver({ eximId: `notice-${each}`, recipients: addresses }), NOW);
    }
  });
}

const fail = (spool: Spool, where = '1') =>
  spool.db.exec(
    `UPDATE recipient SET state = 'failed', status = '5.1.1', reason = 'so' WHERE ${where}`,
  );

function due(spool: Spool): PendingReport {
  const [report] = dueReports(spool, NOW, 1);
  assert.ok(report);
  return report;
}

const owed = (spool: Spool) => spool.db.prepare('SELECT message FROM notice').pluck().all();

for (const [end, settle] of [
  ['taken', markReported],
  ['refused', (spool, _, subjects) => markRefused(spool, subjects)],
] as [string, typeof markReported][]) {
  test(`who fails while a report is handed over is reported too, also when it is ${end}`, (t) => {
    const spool = freshSpool(t);
    store(spool, 1, 2);
    fail(spool, 'position = 0');
    const report = due(spool);
    const subjects = reportedMail(spool, report);
    fail(spool, 'position = 1');
    spool.transaction(() => settle(spool, report, subjects, NOW));
    assert.ok(
      reportedMail(spool, due(spool))[0]?.recipients.some(({ position }) => position === 1),
    );
  });

  test(`what does not fit into a summary that is ${end} is still owed`, (t) => {
    const spool = freshSpool(t);
    const recipients = 900;
    const messages = Math.floor(limits.summaryRecipients / recipients) + 2;
    store(spool, messages, recipients);
    fail(spool);
    for (const report of dueReports(spool, NOW, messages)) batchReport(spool, report, NOW);
    const report = due(spool);
    const subjects = reportedMail(spool, report);
    spool.transaction(() => settle(spool, report, subjects, NOW));
    // The last that is named is named only in part, and the one after it not at all.
    assert.deepEqual(owed(spool), [messages - 1, messages]);
  });

  test(`the failure of the largest message is reported whole, and over when it is ${end}`, (t) => {
    const spool = freshSpool(t);
    store(spool, 1, limits.handOverRecipients);
    fail(spool);
    const report = due(spool);
    const subjects = reportedMail(spool, report);
    assert.equal(subjects[0]?.recipients.length, limits.handOverRecipients);
    spool.transaction(() => settle(spool, report, subjects, NOW));
    assert.deepEqual(owed(spool), []);
  });
}

test('to collect one more changes one row, however much is collected (law 11)', (t) => {
  const spool = freshSpool(t);
  store(spool, 50, 1);
  fail(spool);
  const changes = () => spool.db.prepare<[], number>('SELECT total_changes()').pluck().get() ?? NaN;
  for (const report of dueReports(spool, NOW, 50)) {
    const before = changes();
    batchReport(spool, report, NOW + 1);
    assert.equal(changes() - before, 1);
  }
});

test('of what is collected only that goes which has nothing to tell, all at once', (t) => {
  const spool = freshSpool(t);
  store(spool, 3, 1);
  fail(spool);
  for (const report of dueReports(spool, NOW, 3)) batchReport(spool, report, NOW);
  spool.db.exec(`UPDATE recipient SET state = 'deleted' WHERE message <> 2`);
  dropEmptyReports(spool, due(spool));
  assert.deepEqual(owed(spool), [2]);
});

test('a report is pending from the failure of a recipient until the mail server has taken the report', (t) => {
  const spool = freshSpool(t);
  store(spool, 2, 1);
  assert.equal(hasPendingReport(spool, 1), false);
  fail(spool, 'message = 1');
  assert.equal(hasPendingReport(spool, 1), true);
  assert.equal(hasPendingReport(spool, 2), false, 'another message');
  const report = due(spool);
  spool.transaction(() => markReported(spool, report, reportedMail(spool, report), NOW));
  assert.equal(hasPendingReport(spool, 1), false);
});

test('a warning is no pending report of a failure', (t) => {
  const spool = freshSpool(t);
  store(spool, 1, 1);
  spool.db.exec("INSERT INTO notice (message, kind, sender) VALUES (1, 'delay', x'61')");
  assert.equal(hasPendingReport(spool, 1), false);
});
