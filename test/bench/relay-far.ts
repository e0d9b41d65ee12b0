import { FAR } from '../support/far-away.ts';
import { nginx } from '../support/nginx.ts';
import { Road } from '../support/road.ts';
import type { Relaying } from './backlog.ts';
import { inBench } from './in-bench.ts';
import { drained } from './relay-drain.ts';
import { postfix } from './relay-postfix.ts';

// Runs within the network of farAway: relays the numbers of messages that its arguments say, and prints the messages a second.

/** Drain, to a proxy that discards, behind an nginx with TLS that is far away. */
const drainToFar: Relaying = async (count) =>
  inBench(async (t) => {
    const road = new Road(t);
    await road.proxy(['--backend', 'discard']);
    const { url, caFile } = await nginx(t, road.folder, road.address, {
      bodyLimit: '110m',
      name: FAR.name,
      listens: FAR.listens,
    });
    return drained(road, count, { GMAIL_PROXY_URL: url, APPENGINE_MAILER_CA_FILE: caFile });
  });

const [drains = 0, postfixes = 0] = process.argv.slice(2).map(Number);
const rate = async (relaying: Relaying, count: number) =>
  count === 0 ? 0 : count / (await relaying(count));
const figures = {
  drain: await rate(drainToFar, drains),
  postfix: await rate(postfix(FAR.listens, FAR.address), postfixes),
};
console.log(JSON.stringify(figures));
