import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { scratch } from './scratch.ts';
import { start } from './program.ts';
import { until } from './until.ts';

/**
 * Has Debian's Prometheus scrape these addresses, HOST:PORT each. Returns what asks it for the values of an expression, by
 * the labels of each, once all targets are up.
 */
export async function scrape(
  t: TestContext,
  targets: readonly string[],
): Promise<(expression: string) => Promise<Record<string, string>[]>> {
  const folder = scratch(t);
  const config = join(folder, 'prometheus.yml');
  writeFileSync(
    config,
    JSON.stringify({
      global: { scrape_interval: '1s', scrape_timeout: '1s' },
      scrape_configs: [{ job_name: 'mail', static_configs: [{ targets }] }],
    }),
  );
  const prometheus = start(t, '/usr/bin/prometheus', [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  const [, address = ''] = await prometheus.says(/msg="?Listening on"? address=(\S+)/);
  const ask = async (expression: string) => {
    const url = `http://${address}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const response = await fetch(url);
    if (!response.ok) return []; // It does not answer yet.
    const { data } = (await response.json()) as {
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    return data.result.map(({ metric, value: [, value] }) => ({ ...metric, value }));
  };
  await until(
    async () => (await ask('up == 1')).length === targets.length,
    () => prometheus.stderr,
  );
  return ask;
}
