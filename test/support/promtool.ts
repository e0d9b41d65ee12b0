import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { run } from './program.ts';

/** Has Debian's promtool look at metrics in Prometheus' text format: it must find nothing wrong. */
export async function assertGoodMetrics(t: TestContext, text: string): Promise<void> {
  const { code, stderr } = await run(t, '/usr/bin/promtool', ['check', 'metrics'], { input: text });
  assert.equal(`${code} ${stderr}`, '0 ', text);
}

/** The value of a series, such as `posts_total{outcome="passed"}`, in metrics; undefined when it is not there. */
export function valueOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`appengine_mailer_${series} `));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}
