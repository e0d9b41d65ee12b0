import { workerData } from 'node:worker_threads';
import { Spool } from '../../src/spool/spool.ts';

/** What a thread of this file works on: `commits` counts those of all such threads, `stop` ends them. */
export interface WriterData {
  folder: string;
  commits: Int32Array<SharedArrayBuffer>;
  stop: Int32Array<SharedArrayBuffer>;
}

// A writer that begins the next transaction as soon as it has committed one, each of which takes a few milliseconds.

const { folder, commits, stop } = workerData as WriterData;
const spool = new Spool(folder, 'pipe');
const pause = new Int32Array(new SharedArrayBuffer(4));
while (Atomics.load(stop, 0) === 0) {
  spool.transaction(() => {
    spool.sql('UPDATE endpoint SET calls = calls + 1').run();
    Atomics.wait(pause, 0, 0, 3);
  });
  Atomics.add(commits, 0, 1);
}
spool.close();
