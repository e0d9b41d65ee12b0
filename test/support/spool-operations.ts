import { catchUp } from '../../src/spool/catch-up.ts';
import { claim, nextDueAt, recoverClaimed } from '../../src/spool/claim.ts';
import { limits } from '../../src/limits.ts';
import { readBody, readSmallBodies } from '../../src/spool/body.ts';
import { latestIds } from '../../src/spool/latest-ids.ts';
import { endpointRecord, recordDown, recordPassed } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { addFigures, readFigures } from '../../src/spool/figures.ts';
import { historyOf, addToHistory } from '../../src/spool/history.ts';
import { keepHouse } from '../../src/spool/keep-house.ts';
import { findMessages, listMessages } from '../../src/spool/list.ts';
import {
  batchReport,
  dropEmptyReports,
  dropReport,
  dueReports,
  nextReportAt,
  markRefused,
  reportedMail,
  markReported,
  hasPendingReport,
  postponeReport,
  recentReportTimes,
} from '../../src/spool/report.ts';
import {
  giveUpProxies,
  ledgerOf,
  makeWaitingDue,
  proxyNumber,
  proxyOf,
  unansweredBy,
} from '../../src/spool/posted-to.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import type { MessageState, Spool } from '../../src/spool/spool.ts';
import { readSamples, takeSample } from '../../src/spool/samples.ts';
import { stats } from '../../src/spool/stats.ts';
import { handOver } from './hand-over.ts';

export const NOW = 1_800_000_000_000;

const everyState: MessageState[] = ['queued', 'sending', 'held', 'failed', 'sent', 'deleted'];
const lists = [undefined, ...everyState.map((state) => [state]), everyState];

/**
 * Everything that is done to a spool as mail comes and goes, by name, for a spool with one queued message of that id: so
 * that each statement of theirs runs.
 */
export const spoolOperations: Record<string, (spool: Spool, id: string) => void> = {
  enqueue: (spool) => enqueue(spool, handOver({ eximId: 'another' }), NOW),
  claim: (spool) =>
    spool.transaction(() => claim(spool, { messages: 2, bytes: 1e6, bypassBytes: 0 }, NOW)),
  nextDueAt: (spool) => nextDueAt(spool),
  recoverClaimed: (spool) => recoverClaimed(spool, NOW),
  catchUp: (spool) => catchUp(spool, NOW, Date.now(), limits.messageMaxMs),
  readBody: (spool) => {
    readSmallBodies(spool, [{ seq: 1, size: 18 }]);
    return [...readBody(spool, 1, 18)];
  },
  record: (spool) => {
    const verdicts = [{ position: 0, state: 'sent' as const, status: '2.0.0', reason: 'ok' }];
    const rest = { charged: false, warnings: 0, dueAt: NOW, lastStatus: '2.0.0', lastReason: 'ok' };
    spool.transaction(() => record(spool, [{ seq: 1, verdicts, ...rest }], NOW));
  },
  endpoint: (spool) => {
    recordDown(spool, 'gone', NOW, NOW);
    recordPassed(spool, NOW);
    recordPassed(spool, NOW, { url: 'https://two.example/', reason: 'gone' });
    endpointRecord(spool);
  },
  figures: (spool) => {
    addFigures(spool, [{ name: 'attempts', label: 'passed', value: 1 }]);
    readFigures(spool);
    takeSample(spool, NOW, []);
    readSamples(spool, 'hour');
  },
  reports: (spool, id) => {
    operate(spool, id, { verb: 'bounce', now: NOW });
    for (const kind of ['failure', 'delay'] as const) {
      for (const batched of [false, true]) {
        const report = { seq: 1, kind, sender: 's@example.com', tries: 0, batched };
        const subject = reportedMail(spool, report)[0];
        postponeReport(spool, report, NOW, 1);
        markReported(spool, report, subject ? [subject] : [], NOW);
        markRefused(spool, subject ? [subject] : []);
        batchReport(spool, report, NOW);
        dropEmptyReports(spool, report);
        dropReport(spool, report);
      }
    }
    dueReports(spool, NOW, 1);
    nextReportAt(spool, -1);
    recentReportTimes(spool, 's@example.com', NOW);
    hasPendingReport(spool, 1);
  },
  postedTo: (spool) => {
    const [url, other] = ['https://one.example/', 'https://two.example/'];
    const number = proxyNumber(spool, { url, ledger: 'one' }, NOW);
    const options = { postedTo: number };
    const capacity = { messages: 1, bytes: 1e6, bypassBytes: 0 };
    spool.transaction(() => claim(spool, capacity, NOW, options));
    recoverClaimed(spool, NOW);
    proxyOf(spool, number);
    unansweredBy(spool, 1);
    ledgerOf(spool, url);
    makeWaitingDue(spool, { url, ledger: 'one' }, NOW);
    giveUpProxies(spool, { urls: [other], inUseSince: 0 }, NOW);
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
  history: (spool) => {
    const kept = limits.historyFirst + limits.historyLatest;
    for (let nth = 0; nth <= kept; nth += 1) addToHistory(spool, { seq: 1, what: 'hold' });
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
