import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Spool } from '../../src/spool/spool.ts';
import { fillSpool } from '../support/fill-spool.ts';
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
async function drained(road: Road, count: number): Promise<number> {
  const spool = new Spool(road.spool, 'drain');
  fillSpool(spool, count, { now: spool.now(), message: MESSAGE });
  spool.close();
  // Its journal goes to a file, as those of the others.
  const program = [process.execPath, inCheckout('dist/bin/appengine-mailer.js'), 'drain', '--once'];
  const args = ['-c', 'exec "$@" 2>"$0"', join(road.folder, 'log'), ...program];
  const env = { GMAIL_PROXY_URL: `http://${road.address}/`, GMAIL_SECRET_KEY: road.key };
  const took = await seconds(async () => {
    const { code } = await run(road.t, '/bin/sh', [...args, '--spool', road.spool], { env });
    assert.equal(code, 0, `see ${road.folder}/log`);
  });
  assert.equal((await road.stats())['sent'], count);
  return took;
}
