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
export function queue(road: Road, count: number, host = 0): void {
  const spool = new Spool(road.spool, 'drain');
  fillSpool(spool, count, { now: spool.now(), message: MESSAGE, host });
  spool.close();
}

/** Runs drain until the messages that are queued, so many, are sent. */
export async function drainOnce(
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
