import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { enqueue } from '../../src/spool/enqueue.ts';
import { Spool } from '../../src/spool/spool.ts';
import { handOver } from '../support/hand-over.ts';
import { appengineMailer } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { MESSAGE } from './backlog.ts';
import { inBench } from './in-bench.ts';
import { median } from './statistics.ts';

const TIMES = 200;

/** Milliseconds from the beginning of enqueue to the POST, with nothing else queued: the median. */
export async function wakingMs(): Promise<number> {
  return inBench(async (t) => {
    const folder = join(scratch(t), 'spool');
    mkdirSync(folder);
    const key = 'a secret key';
    let arrived: (() => void) | undefined;
    const proxy = await ScriptedProxy.start(t, key, (post) => {
      arrived?.();
      post.accept();
    });
    const env = { GMAIL_PROXY_URL: proxy.url, GMAIL_SECRET_KEY: key };
    const drain = appengineMailer(t, ['drain', '--spool', folder], { env });
    await drain.says(/started/);
    const spool = new Spool(folder, 'pipe');
    const took: number[] = [];
    for (let nth = 0; nth < TIMES; nth += 1) {
      await sleep(50); // It is idle again.
      const posted = new Promise<void>((resolve) => (arrived = resolve));
      const start = performance.now();
      enqueue(spool, handOver({ eximId: `waking-${nth}`, message: MESSAGE }), spool.now());
      spool.wakeDrain();
      await posted;
      took.push(performance.now() - start);
    }
    spool.close();
    return median(took);
  });
}
