import { readFileSync } from 'node:fs';
import { handIn } from '../support/hand-in.ts';
import { Road } from '../support/road.ts';
import { inBench } from './in-bench.ts';

const MB = 1_000_000;
const MESSAGES = 20;

/** The most memory that drain has had, in MB, after it sent 20 messages of 25 MB. */
export async function memoryMB(): Promise<number> {
  return inBench(async (t) => {
    const road = new Road(t);
    const bytes = Buffer.alloc(25 * MB, `${'x'.repeat(79)}\n`);
    for (let nth = 0; nth < MESSAGES; nth += 1) handIn(road.spool, [{ bytes }], { wake: false });
    await road.proxy(['--backend', 'discard']);
    const drain = road.drain();
    await drain.says(/ sent /, MESSAGES);
    return peakBytes(drain.child.pid) / MB;
  });
}

/** The most memory that a process has had so far: its VmHWM, see proc(5). */
export function peakBytes(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
