import type { TestContext } from 'node:test';
import { PostgresServer } from '../support/postgres.ts';
import { Road } from '../support/road.ts';
import { seconds, type Rate } from './backlog.ts';
import { inBench } from './in-bench.ts';
import { drainOnce, queue } from './relay-drain.ts';

/**
 * What three hosts hand over to proxies with a ledger in PostgreSQL: to one, and to three. Both sites are there at the same
 * time and get their turns one after the other. Before that each proxy takes the same number of messages: Node.js compiles
 * what is used often, in each process for itself.
 */
export async function threeProxies(): Promise<{ one: Rate; three: Rate }> {
  return inBench(async (t) => {
    const server = await PostgresServer.start(t);
    const [one, three] = [await Site.start(t, server, 1), await Site.start(t, server, HOSTS)];
    await one.take(WARM_UP / HOSTS);
    await three.take(WARM_UP);
    const took = { one: 0, three: 0 };
    for (let turn = 0; turn < TURNS; turn += 1) {
      took.one += await one.take(BACKLOG);
      took.three += await three.take(BACKLOG);
      took.three += await three.take(BACKLOG);
      took.one += await one.take(BACKLOG);
    }
    const taken = 2 * TURNS * HOSTS * BACKLOG;
    return { one: { perSecond: taken / took.one }, three: { perSecond: taken / took.three } };
  });
}

/** Proxies with a ledger in a database of their own. */
class Site {
  readonly #t: TestContext;
  readonly #addresses: readonly string[];
  /** The hosts that have handed over something so far. */
  #hosts = 0;

  private constructor(t: TestContext, addresses: readonly string[]) {
    this.#t = t;
    this.#addresses = addresses;
  }

  static async start(t: TestContext, server: PostgresServer, proxies: number): Promise<Site> {
    const ledger = await server.database(`site${proxies}`);
    const addresses: string[] = [];
    while (addresses.length < proxies) {
      const road = new Road(t);
      await road.proxy(['--backend', 'discard'], {}, ledger);
      addresses.push(road.address);
    }
    return new Site(t, addresses);
  }

  /** The seconds in which three new hosts hand over so many messages each. */
  async take(each: number): Promise<number> {
    const roads = Array.from({ length: HOSTS }, (_, host) => {
      const road = new Road(this.#t);
      road.address = this.#addresses[host % this.#addresses.length] ?? road.address;
      queue(road, each, this.#hosts + host);
      return road;
    });
    this.#hosts += HOSTS;
    return seconds(async () => Promise.all(roads.map(async (road) => drainOnce(road, each))));
  }
}

const HOSTS = 3;
/** Messages that each proxy takes before the measurement. */
const WARM_UP = 7500;
/** Messages of each host in a turn, and turns of two for each site. */
const BACKLOG = 2500;
const TURNS = 2;
