import { FAR } from '../support/far-away.ts';
import { nginx } from '../support/nginx.ts';
import { Road } from '../support/road.ts';
import { rateOf, type Relaying } from './backlog.ts';
import type { FarFigures } from './far.ts';
import { inBench } from './in-bench.ts';
import { drained } from './relay-drain.ts';
import { postfix } from './relay-postfix.ts';

// Runs within the network of farAway: relays the numbers of messages that its arguments say, and prints the messages a second.

/** Drain, to a proxy that discards, behind an nginx with TLS that is far away. */
const drainToFar: Relaying = async (count) =>
  inBench(async (t) => {
    const road = new Road(t);
    const proxy = await road.proxy(['--backend', 'discard']);
    const { url, caFile } = await nginx(t, road.folder, road.address, {
      bodyLimit: '110m',
      name: FAR.name,
      listens: FAR.listens,
    });
    return drained(road, proxy, count, { GMAIL_PROXY_URL: url, APPENGINE_MAILER_CA_FILE: caFile });
  });

const [drains = 0, postfixes = 0] = process.argv.slice(2).map(Number);
const figures: FarFigures = {
  drain: await rateOf(drainToFar, drains),
  postfix: await rateOf(postfix(FAR.listens, FAR.address), postfixes),
};
console.log(JSON.stringify(figures));
