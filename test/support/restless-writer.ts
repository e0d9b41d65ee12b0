import { workerData } from 'node:worker_threads';
import { enqueue } from '../../src/spool/enqueue.ts';
import { Spool } from '../../src/spool/spool.ts';
import { handOver } from './hand-over.ts';

/** What such a thread works on. `commits` counts those of all threads, and `stop` ends them. */
export interface RestlessWriter {
  folder: string;
  /** What it tells its messages from those of others by. */
  name: string;
  message: string;
  /** For how long each transaction is open at least. */
  holdMs: number;
  commits: Int32Array<SharedArrayBuffer>;
  stop: Int32Array<SharedArrayBuffer>;
}

// A thread that begins the next transaction as soon as it has committed one.

const { folder, name, message, holdMs, commits, stop } = workerData as RestlessWriter;
const spool = new Spool(folder, 'pipe');
const pause = new Int32Array(new SharedArrayBuffer(4));
for (let nth = 0; Atomics.load(stop, 0) === 0; nth += 1) {
  const mail = handOver({ eximId: `${name}-${nth}`, message });
  spool.transaction(() => {
    enqueue(spool, mail, spool.now());
    if (holdMs > 0) Atomics.wait(pause, 0, 0, holdMs);
  });
  Atomics.add(commits, 0, 1);
}
spool.close();
