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

/**
 * Three hosts, with a third of the messages each, to proxies with one ledger in PostgreSQL: one, or three. It is measured when
 * each proxy has worked for a while: Node.js compiles what is used often, in each process for itself.
 */
export function drainsToShared(proxies: 1 | 3): Relaying {
  return async (count) =>
    inBench(async (t) => {
      const server = await PostgresServer.start(t);
      const addresses: string[] = [];
      while (addresses.length < proxies) {
        const road = new Road(t);
        await road.proxy(['--backend', 'discard'], server.environment, 'postgres:');
        addresses.push(road.address);
      }
      const drainAll = async (hosts: readonly number[], each: number) => {
        const roads = hosts.map((host) => {
          const road = new Road(t);
          road.address = addresses[host % proxies] ?? road.address;
          queue(road, each, host);
          return road;
        });
        return seconds(async () => Promise.all(roads.map(async (road) => drainOnce(road, each))));
      };
      await drainAll([0, 1, 2], WARM_UP);
      return { seconds: await drainAll([3, 4, 5], Math.floor(count / 3)) };
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
  queue(road, count);
  const before = cpuMs(proxy);
  const relayed = await drainOnce(road, count, more);
  const proxyMs = cpuMs(proxy) - before;
  return { ...relayed, cpuMs: { ...relayed.cpuMs, proxy: proxyMs } };
}

/** Queues messages with ids that those of another host do not have. */
function queue(road: Road, count: number, host = 0): void {
  const spool = new Spool(road.spool, 'drain');
  fillSpool(spool, count, { now: spool.now(), message: MESSAGE, host });
  spool.close();
}

/** Runs drain until the messages that are queued, so many, are sent. */
async function drainOnce(
  road: Road,
  count: number,
  more: NodeJS.ProcessEnv = {},
): Promise<Relayed> {
  // Its journal goes to a file, as those of the others.
  const program = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), 'drain', '--once'];
  const script = '"$@" 2>"$0"; code=$?; times; exit $code';
  const args = ['-c', script, join(road.folder, 'log'), ...program, '--spool', road.spool];
  const env = { GMAIL_PROXY_URL: `http://${road.address}/`, GMAIL_SECRET_KEY: road.key, ...more };
  let drainMs = NaN;
  const took = await seconds(async () => {
    const { code, stdout } = await run(road.t, '/bin/sh', args, { env });
    assert.equal(code, 0, `see ${road.folder}/log`);
    drainMs = cpuMsOfTimes(stdout);
  });
  assert.equal((await road.stats())['sent'], count);
  return { seconds: took, cpuMs: { drain: drainMs } };
}

/** Messages of each host before the measurement. */
const WARM_UP = 2000;
