import { join } from 'node:path';
import type { TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { Road } from '../support/road.ts';
import { inBench } from './in-bench.ts';
import { peakBytes } from './memory.ts';
import { drained } from './relay-drain.ts';
import { median } from './statistics.ts';

const FEW = 1000;
const MANY = 10_000_000;
const MESSAGES = 3000;
const DRAINS = 3;
const STARTS = 9;

/** How much more a ledger of 10,000,000 takes than one of 1,000, each in turn: ratios. */
export async function ledgerScale(): Promise<Record<string, number>> {
  return inBench(async (t) => {
    const ledgers = [FEW, MANY].map((rows): Measured => {
      return { file: ledgerOf(t, rows), startMs: [], seconds: [], rssBytes: [] };
    });
    for (let turn = 0; turn < STARTS; turn += 1) {
      for (const { file, startMs, seconds, rssBytes } of ledgers) {
        const road = new Road(t);
        const begun = performance.now();
        const proxy = await road.proxy(['--backend', 'discard'], {}, file);
        startMs.push(performance.now() - begun);
        if (turn < DRAINS) {
          seconds.push((await drained(road, proxy, MESSAGES)).seconds);
          rssBytes.push(peakBytes(proxy.child.pid));
        }
        await proxy.stop();
      }
    }
    const ratio = (of: (measured: Measured) => number) => {
      const [few, many] = ledgers.map(of);
      return (many ?? NaN) / (few ?? NaN);
    };
    return {
      'start of the proxy': ratio(({ startMs }) => median(startMs)),
      'drain, time for 3,000 messages': ratio(({ seconds }) => Math.min(...seconds)),
      'RSS of the proxy': ratio(({ rssBytes }) => Math.min(...rssBytes)),
    };
  });
}

/** A ledger, and what its turns took. */
interface Measured {
  file: string;
  startMs: number[];
  seconds: number[];
  rssBytes: number[];
}

/** A ledger that has sent so many messages, with ids in their order. */
function ledgerOf(t: TestContext, rows: number): string {
  const file = join(new Road(t).folder, 'ledger.db');
  new SqliteLedger(file).close();
  const db = new Database(file);
  db.pragma('synchronous = OFF');
  db.exec(`WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < ${rows})
    INSERT INTO message (id, digest, at) SELECT printf('0190%028x', n), zeroblob(32), observed_ms FROM number, clock`);
  db.exec(`INSERT INTO recipient SELECT id, 'r@example.org', 'sent', '2.0.0', 'ok' FROM message`);
  db.pragma('wal_checkpoint(TRUNCATE)');
  db.close();
  return file;
}
