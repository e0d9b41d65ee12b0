import assert from 'node:assert/strict';
import test from 'node:test';
import { catchUp } from '../../src/spool/catch-up.ts';
import { claim, nextDueAt, recoverClaimed } from '../../src/spool/claim.ts';
import { limits } from '../../src/limits.ts';
import { readBody } from '../../src/spool/body.ts';
import { latestIds } from '../../src/spool/latest-ids.ts';
import { endpointRecord, recordDown, recordPassed } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { historyOf, addToHistory } from '../../src/spool/history.ts';
import { keepHouse } from '../../src/spool/keep-house.ts';
import { findMessages, listMessages } from '../../src/spool/list.ts';
import {
  collectNotice,
  dropEmptyNotices,
  dropNotice,
  dueNotices,
  nextNoticeAt,
  noticeRefused,
  noticeSubjects,
  noticeTold,
  owesReport,
  postponeNotice,
  toldTimes,
} from '../../src/spool/notice.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import type { MessageState, Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { plansOf } from '../support/plans-of.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;

/**
 * A table of one row or a fixed few may be read whole, and the index of what is listed, or of notices, from
 * its beginning, for the first that fits; nothing else may, and nothing may be sorted but the recipients of
 * one message (the last term of a summary's order).
 */
const wholeTable =
  /^SCAN (?!counter$|endpoint$|message USING INDEX message_listed$|notice USING COVERING INDEX notice_due$)/;
const sorted = /TEMP B-TREE FOR (?!LAST TERM OF ORDER BY).*ORDER BY/;

const everyState: MessageState[] = ['queued', 'sending', 'held', 'failed', 'sent', 'deleted'];
const lists = [undefined, ...everyState.map((state) => [state]), everyState];

const verbs: Record<string, (spool: Spool, id: string) => void> = {
  enqueue: (spool) => enqueue(spool, handOver({ eximId: 'another' }), NOW),
  claim: (spool) =>
    spool.transaction(() => claim(spool, { messages: 2, bytes: 1e6, bypassBytes: 0 }, NOW)),
  nextDueAt: (spool) => nextDueAt(spool),
  recoverClaimed: (spool) => recoverClaimed(spool, NOW),
  catchUp: (spool) => catchUp(spool, NOW, Date.now(), limits.messageMaxMs),
  readBody: (spool) => [...readBody(spool, 1, 18)],
  record: (spool) => {
    const verdicts = [{ position: 0, state: 'sent' as const, status: '2.0.0', reason: 'ok' }];
    const rest = { charged: false, warnings: 0, dueAt: NOW, lastStatus: '2.0.0', lastReason: 'ok' };
    spool.transaction(() => record(spool, { seq: 1, verdicts, ...rest }, NOW));
  },
  endpoint: (spool) => {
    recordDown(spool, 'gone', NOW, NOW);
    recordPassed(spool, NOW);
    endpointRecord(spool);
  },
  notices: (spool) => {
    for (const kind of ['failure', 'delay'] as const) {
      for (const collected of [false, true]) {
        const notice = { seq: 1, kind, sender: 's@example.com', tries: 0, collected };
        const subject = noticeSubjects(spool, notice)[0];
        postponeNotice(spool, notice, NOW, 1);
        noticeTold(spool, notice, subject ? [subject] : [], NOW);
        noticeRefused(spool, subject ? [subject] : []);
        collectNotice(spool, notice, NOW);
        dropEmptyNotices(spool, notice);
        dropNotice(spool, notice);
      }
    }
    dueNotices(spool, NOW, 1);
    nextNoticeAt(spool, -1);
    toldTimes(spool, 's@example.com', NOW);
    owesReport(spool, 1);
  },
  hold: (spool, id) => operate(spool, id, { verb: 'hold', now: NOW }),
  release: (spool, id) => {
    operate(spool, id, { verb: 'hold', now: NOW });
    operate(spool, id, { verb: 'release', now: NOW });
  },
  retry: (spool, id) => operate(spool, id, { verb: 'retry', now: NOW }),
  bounce: (spool, id) => operate(spool, id, { verb: 'bounce', now: NOW }),
  delete: (spool, id) => operate(spool, id, { verb: 'delete', now: NOW }),
  return: (spool, id) => {
    operate(spool, id, { verb: 'return', now: NOW });
    operate(spool, id, { verb: 'returned', now: NOW });
  },
  remember: (spool) => {
    const kept = limits.historyFirst + limits.historyLatest;
    for (let nth = 0; nth <= kept; nth += 1) addToHistory(spool, 1, { what: 'hold' });
    historyOf(spool, 1);
  },
  findMessages: (spool, id) => findMessages(spool, id, NOW)[0],
  keepHouse: (spool) => keepHouse(spool, NOW),
  stats: (spool) => stats(spool),
  latestIds: (spool) => latestIds(spool, '0'),
  list: (spool) => {
    for (const states of lists) listMessages(spool, { states }, NOW).next();
  },
};
for (const [verb, run] of Object.entries(verbs)) {
  test(`${verb} finds its rows by an index and sorts none (law 11)`, async (t) => {
    const spool = freshSpool(t);
    const { id } = enqueue(spool, handOver(), NOW);
    // What the first message prepared is forgotten with its Spool: every statement is seen.
    spool.sql = (text) => spool.db.prepare(text) as ReturnType<typeof spool.sql<never>>;
    const plans = await plansOf(spool.db.name, () => run(spool, id));
    assert.ok(plans.length > 0);
    for (const { sql, steps } of plans) {
      for (const step of steps) {
        assert.doesNotMatch(step, wholeTable, sql);
        assert.doesNotMatch(step, sorted, sql);
      }
    }
  });
}
