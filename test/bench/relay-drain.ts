import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Spool } from '../../src/spool/spool.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { PostgresServer } from '../support/postgres.ts';
import { inCheckout, run } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { MESSAGE, seconds, type Relaying } from './backlog.ts';
import { inBench } from './in-bench.ts';
import { SmtpSink } from './smtp-sink.ts';

/** Drain, to a proxy that discards. */
export const drainToDiscard: Relaying = async (count) =>
  inBench(async (t) => {
    const road = new Road(t);
    await road.proxy(['--backend', 'discard']);
    return drained(road, count);
  });

/** The same with the ledger in PostgreSQL, which has the disk and the processors of this machine too. */
export const drainToShared: Relaying = async (count) =>
  inBench(async (t) => {
    const server = await PostgresServer.start(t);
    const road = new Road(t);
    await road.proxy(['--backend', 'discard'], server.environment, 'postgres:');
    return drained(road, count);
  });

/** Three hosts, with a third of the messages each, to proxies with one ledger in PostgreSQL: one, or three. */
export function drainsToShared(proxies: 1 | 3): Relaying {
  return async (count) =>
    inBench(async (t) => {
      const server = await PostgresServer.start(t);
      const roads = Array.from({ length: 3 }, () => new Road(t));
      for (const [at, road] of roads.entries()) {
        const first = roads[0] ?? road;
        if (at < proxies)
          await road.proxy(['--backend', 'discard'], server.environment, 'postgres:');
        else road.address = first.address;
      }
      return seconds(async () => {
        await Promise.all(roads.map(async (road) => drained(road, Math.floor(count / 3))));
      });
    });
}

/** Drain, to a proxy that relays to the sink. */
export const drainToSmtp: Relaying = async (count) =>
  inBench(async (t) => {
    const road = new Road(t);
    const { port } = await SmtpSink.start(t);
    const smtp = ['--smtp-host', '127.0.0.1', '--smtp-port', `${port}`, '--smtp-security', 'none'];
    await road.proxy(['--backend', 'smtp', ...smtp]);
    return drained(road, count);
  });

/** From the start of drain to its end: everything is recorded as sent. */
export async function drained(
  road: Road,
  count: number,
  more: NodeJS.ProcessEnv = {},
): Promise<number> {
  const spool = new Spool(road.spool, 'drain');
  fillSpool(spool, count, { now: spool.now(), message: MESSAGE });
  spool.close();
  // Its journal goes to a file, as those of the others.
  const program = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), 'drain', '--once'];
  const args = ['-c', 'exec "$@" 2>"$0"', join(road.folder, 'log'), ...program];
  const env = { GMAIL_PROXY_URL: `http://${road.address}/`, GMAIL_SECRET_KEY: road.key, ...more };
  const took = await seconds(async () => {
    const { code } = await run(road.t, '/bin/sh', [...args, '--spool', road.spool], { env });
    assert.equal(code, 0, `see ${road.folder}/log`);
  });
  assert.equal((await road.stats())['sent'], count);
  return took;
}
