import { setTimeout as sleep } from 'node:timers/promises';
import { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { RestlessWriters } from '../support/restless-writers.ts';
import { Road } from '../support/road.ts';
import { MESSAGE, type Rate } from './backlog.ts';
import { inBench } from './in-bench.ts';

const BACKLOG = 40_000;
const WRITERS = 8;
const SECONDS = 6;

/** How many messages drain sends in a second: alone, and beside eight writers that never pause. */
export async function besideWriters(): Promise<{ alone: Rate; beside: Rate }> {
  return inBench(async (t) => {
    const road = new Road(t);
    const filled = new Spool(road.spool, 'drain');
    fillSpool(filled, BACKLOG, { now: filled.now(), message: MESSAGE });
    filled.close();
    const spool = new Spool(road.spool, 'operator');
    await road.proxy(['--backend', 'discard']);
    const drain = road.drain();
    await drain.says(/ sent /, 1000);
    const alone = await rate(spool);
    const writers = new RestlessWriters(t, WRITERS, {
      folder: road.spool,
      message: MESSAGE,
      holdMs: 0,
    });
    await writers.started();
    const beside = await rate(spool);
    await writers.stop();
    await drain.stop();
    spool.close();
    return { alone, beside };
  });
}

async function rate(spool: Spool): Promise<Rate> {
  const before = stats(spool).counters.sent;
  const start = performance.now();
  await sleep(SECONDS * 1000);
  const sent = stats(spool).counters.sent - before;
  return { perSecond: (sent * 1000) / (performance.now() - start) };
}
