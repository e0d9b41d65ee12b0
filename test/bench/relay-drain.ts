import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Spool } from '../../src/spool/spool.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { PostgresServer } from '../support/postgres.ts';
import { inCheckout, run, type Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { MESSAGE, seconds, type Relayed, type Relaying } from './backlog.ts';
import { cpuMs, cpuMsOfTimes } from './cpu-ms.ts';
import { inBench } from './in-bench.ts';
import { SmtpSink } from './smtp-sink.ts';

/** Drain, to a proxy that discards. */
export const drainToDiscard: Relaying = async (count) =>
  inBench(async (t) => {
    const road = new Road(t);
    return drained(road, await road.proxy(['--backend', 'discard']), count);
  });

/** The same with the ledger in PostgreSQL, which has the disk and the processors of this machine too. */
export const drainToShared: Relaying = async (count) =>
  inBench(async (t) => {
    const server = await PostgresServer.start(t);
    const road = new Road(t);
    const proxy = await road.proxy(['--backend', 'discard'], server.environment, 'postgres:');
    return drained(road, proxy, count);
  });

/** Three hosts, with a third of the messages each, to proxies with one ledger in PostgreSQL: one, or three. */
export function drainsToShared(proxies: 1 | 3): Relaying {
  return async (count) =>
    inBench(async (t) => {
      const server = await PostgresServer.start(t);
      const roads = Array.from({ length: 3 }, () => new Road(t));
      const [first = new Road(t)] = roads;
      const shared = await first.proxy(['--backend', 'discard'], server.environment, 'postgres:');
      const started = [shared];
      for (const road of roads.slice(1)) {
        if (proxies === 1) road.address = first.address;
        else
          started.push(await road.proxy(['--backend', 'discard'], server.environment, 'postgres:'));
      }
      return {
        seconds: await seconds(async () => {
          const each = Math.floor(count / 3);
          await Promise.all(
            roads.map(async (road, nth) => drained(road, started[nth] ?? shared, each)),
          );
        }),
      };
    });
}

/** Drain, to a proxy that relays to the sink. */
export const drainToSmtp: Relaying = async (count) =>
  inBench(async (t) => {
    const road = new Road(t);
    const { port } = await SmtpSink.start(t);
    const smtp = ['--smtp-host', '127.0.0.1', '--smtp-port', `${port}`, '--smtp-security', 'none'];
    return drained(road, await road.proxy(['--backend', 'smtp', ...smtp]), count);
  });

/** From the start of drain to its end: everything is recorded as sent. */
export async function drained(
  road: Road,
  proxy: Program,
  count: number,
  more: NodeJS.ProcessEnv = {},
): Promise<Relayed> {
  const spool = new Spool(road.spool, 'drain');
  fillSpool(spool, count, { now: spool.now(), message: MESSAGE });
  spool.close();
  // Its journal goes to a file, as those of the others.
  const program = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), 'drain', '--once'];
  const script = '"$@" 2>"$0"; code=$?; times; exit $code';
  const args = ['-c', script, join(road.folder, 'log'), ...program, '--spool', road.spool];
  const env = { GMAIL_PROXY_URL: `http://${road.address}/`, GMAIL_SECRET_KEY: road.key, ...more };
  const before = cpuMs(proxy);
  let drainMs = NaN;
  const took = await seconds(async () => {
    const { code, stdout } = await run(road.t, '/bin/sh', args, { env });
    assert.equal(code, 0, `see ${road.folder}/log`);
    drainMs = cpuMsOfTimes(stdout);
  });
  const proxyMs = cpuMs(proxy) - before;
  assert.equal((await road.stats())['sent'], count);
  return { seconds: took, cpuMs: { drain: drainMs, proxy: proxyMs } };
}
