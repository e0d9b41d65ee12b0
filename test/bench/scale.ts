import { limits } from '../../src/limits.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { Spool } from '../../src/spool/spool.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { Road } from '../support/road.ts';
import { spoolWork } from '../support/spool-work.ts';
import { inBench } from './in-bench.ts';
import { peakBytes } from './memory.ts';
import { median, quantile } from './statistics.ts';

const FEW = 1000;
const MANY = 1_000_000;
const TURNS = 120;
const DRAINS = 7;
const MESSAGE = `Subject: bench\n\n${`${'x'.repeat(79)}\n`.repeat(12)}`;

/** How much more it takes with 1,000,000 queued than with 1,000, each in turn: ratios. */
export async function scale(): Promise<Record<string, number>> {
  return inBench(async (t) => {
    const roads = [FEW, MANY].map((rows) => {
      const road = new Road(t);
      const spool = new Spool(road.spool, 'drain');
      fillSpool(spool, rows, { now: spool.now(), message: MESSAGE });
      return { road, spool };
    });
    const took = roads.map(() => new Map<string, number[]>());
    const note = (which: number, what: string, ms: number) => {
      took[which]?.set(what, [...(took[which].get(what) ?? []), ms]);
    };

    let nth = 0;
    const time = (which: number, what: string, action: () => unknown) => {
      const start = performance.now();
      action();
      note(which, what, performance.now() - start);
    };
    for (let turn = 0; turn < TURNS; turn += 1) {
      // As many come as go. Both get each in turn, since what else this machine does would be taken for a difference.
      for (let more = 0; more < limits.turnMessages; more += 1) {
        nth += 1;
        const mail = handOver({ eximId: `bench-${nth}`, message: MESSAGE });
        for (const [which, { spool }] of roads.entries()) {
          time(which, 'enqueue', () => enqueue(spool, mail, spool.now()));
        }
      }
      for (const [which, { spool }] of roads.entries()) {
        const now = spool.now();
        time(which, 'claim', () => spoolWork['claim, read and record'](spool, 0, now));
        time(which, 'list', () => spoolWork['first page of list'](spool, 0, now));
        time(which, 'stats', () => spoolWork.stats(spool));
      }
    }

    for (let turn = 0; turn < DRAINS; turn += 1) {
      for (const [which, { road, spool }] of roads.entries()) {
        const { startMs, sendMs, rssBytes } = await drained(road);
        note(which, 'start', startMs);
        note(which, 'send', sendMs);
        note(which, 'rss', rssBytes);
        const lacking = FEW - spoolWork.stats(spool).counters.queued;
        for (let more = 0; more < lacking; more += 1) {
          nth += 1;
          enqueue(spool, handOver({ eximId: `bench-${nth}`, message: MESSAGE }), spool.now());
        }
      }
    }
    for (const { spool } of roads) spool.close();

    const ratio = (what: string, of: (values: readonly number[]) => number) => {
      const [few, many] = took.map((values) => of(values.get(what) ?? []));
      return (many ?? NaN) / (few ?? NaN);
    };
    return {
      'enqueue, median': ratio('enqueue', median),
      'enqueue, p99': ratio('enqueue', (values) => quantile(values, 0.99)),
      'claim, read and record 64': ratio('claim', median),
      'first page of list': ratio('list', median),
      stats: ratio('stats', median),
      'start of drain': ratio('start', median),
      'drain, time for 1,000 messages': ratio('send', fastest),
      'RSS of drain': ratio('rss', fastest),
    };
  });
}

const fastest = (values: readonly number[]) => Math.min(...values);

/** Drain from its start until it has sent 1,000 messages. */
async function drained(road: Road) {
  const proxy = await road.proxy(['--backend', 'discard']);
  const start = performance.now();
  const drain = road.drain();
  await drain.says(/ started; /);
  const started = performance.now();
  await drain.says(/ sent /, FEW - limits.inFlight);
  const sent = performance.now();
  const rssBytes = peakBytes(drain.child.pid);
  await drain.stop();
  await proxy.stop();
  return { startMs: started - start, sendMs: sent - started, rssBytes };
}
