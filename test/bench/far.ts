import assert from 'node:assert/strict';
import { farAway } from '../support/far-away.ts';
import { inCheckout, run } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
import type { Rate } from './backlog.ts';
import { inBench } from './in-bench.ts';

/** Over a link of 80 ms, there and back: drain with TLS, and Postfix. */
export interface FarFigures {
  drain: Rate;
  postfix: Rate;
}

/** Backlogs over the same link, of so many messages each. */
export async function far(drain: number, postfix: number): Promise<FarFigures> {
  return inBench(async (t) => {
    const inside = await farAway(t, scratch(t), { ms: 40 });
    const script = inCheckout('test/bench/relay-far.ts');
    const counts = [String(drain), String(postfix)];
    const [file, words] = inside(process.execPath, '--import', 'tsx', script, ...counts);
    const { code, stdout, stderr } = await run(t, file, words, { cwd: inCheckout('.') });
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout.toString()) as FarFigures;
  });
}
