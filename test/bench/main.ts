import { join } from 'node:path';
import { inCheckout } from '../support/program.ts';
import { idleMemory } from '../support/idle-memory.ts';
import { needs } from '../support/needs.ts';
import { rateOf, type Rate, type Relaying } from './backlog.ts';
import { far } from './far.ts';
import { burst, handOver } from './hand-over.ts';
import { inBench } from './in-bench.ts';
import { ledgerScale } from './ledger-scale.ts';
import { memoryMB } from './memory.ts';
import { pipeCpu } from './pipe-cpu.ts';
import { drainToDiscard, drainToShared, drainToSmtp } from './relay-drain.ts';
import { exim } from './relay-exim.ts';
import { nullmailer } from './relay-nullmailer.ts';
import { postfix } from './relay-postfix.ts';
import { Results } from './results.ts';
import { scale } from './scale.ts';
import { threeProxies } from './three-proxies.ts';
import { wakingMs } from './waking.ts';
import { besideWriters } from './writers.ts';

// `npm run bench`: the budgets of the product as ratios, measured in one run on one machine, in less than ten minutes. A
// number after it is that of the messages of the burst.

const BACKLOG = 20_000;
/** The others are bounded by their time: their rate is the same with fewer messages. */
const SHARED_BACKLOG = 6000;
const FAR_BACKLOGS = [20_000, 1200] as const;
const SHORT_BACKLOG = 500;
const BURST = Number(process.argv[2] ?? 1000);

const results = new Results();
await handingOver();
await backlogs();
await farAway();
await writers();
await sharedLedger();
await growth();
await waiting();
results.write(join(inCheckout('test/bench'), 'results.md'));

async function handingOver(): Promise<void> {
  const { skip } = needs('root', 'postfix', 'exim4');
  if (skip !== false) results.lacks('Exim to intake to spool', skip);
  else {
    const { toCat, fourToCat, toDd, cpuMs } = await handOver();
    results.add({
      what: 'Exim to intake to spool, against Exim by a pipe to /bin/cat',
      measured: times(toCat),
      ...atLeast(1, toCat),
    });
    results.add({ what: 'the same, four queue runners', measured: times(fourToCat) });
    results.add({
      what: 'the same, against a pipe to dd, which syncs a file, too',
      measured: times(toDd),
    });
    results.add({
      what: 'CPU of the LMTP server for 4 KB',
      measured: `${cpuMs.toFixed(1)} ms`,
      budget: 'at most 3 ms',
      holds: cpuMs <= 3,
    });
    const { inSpool, atProxy, atSmarthost } = await burst(BURST);
    const measured = [inSpool, atProxy, atSmarthost].map((each) => each.toFixed(1)).join(', ');
    results.add({
      what: `${BURST} by sendmail: seconds to spool, to proxy; Exim to sink`,
      measured,
    });
  }
  const { ratio, ms } = await pipeCpu();
  results.add({
    what: 'CPU of exim-pipe for 4 KB, against node -e 0',
    measured: `${times(ratio)} (${ms.toFixed(0)} ms)`,
    ...atMost(1.5, ratio),
  });
}

async function backlogs(): Promise<void> {
  const { skip } = needs('root', 'postfix', 'exim4', 'nullmailer');
  if (skip !== false) return results.lacks('the backlog', skip);
  const byPostfix = await rateOf(postfix(), BACKLOG);
  const toDiscard = await rateOf(drainToDiscard, BACKLOG);
  const toSmtp = await rateOf(drainToSmtp, BACKLOG);
  against('drain to proxy, against Postfix to smtp-sink', toDiscard, byPostfix, 5);
  against('the same, and the proxy relays to smtp-sink', toSmtp, byPostfix, 3);
  const others: [string, Relaying][] = [
    ['nullmailer', nullmailer],
    ["a run of Exim's queue", exim],
  ];
  for (const [name, relaying] of others) {
    against(`the same, against ${name}`, toSmtp, await rateOf(relaying, SHORT_BACKLOG));
  }
}

async function farAway(): Promise<void> {
  const { skip } = needs('root', 'postfix', 'nginx', 'openssl', 'cc');
  if (skip !== false) return results.lacks('80 ms away', skip);
  const { drain, postfix: byPostfix } = await far(...FAR_BACKLOGS);
  against('80 ms away: drain by TLS, against Postfix to smtp-sink', drain, byPostfix, 10);
}

async function writers(): Promise<void> {
  const { alone, beside } = await besideWriters();
  against('drain beside 8 writers that never pause, against drain alone', beside, alone, 0.5);
}

async function sharedLedger(): Promise<void> {
  const { skip } = needs('postgres');
  if (skip !== false) return results.lacks('ledger in PostgreSQL', skip);
  const own = await rateOf(drainToDiscard, SHARED_BACKLOG);
  const shared = await rateOf(drainToShared, SHARED_BACKLOG);
  against('ledger in PostgreSQL, against SQLite', shared, own, 0.8);
  const { one, three } = await threeProxies();
  against('three hosts: three proxies, against one', three, one, 1);
}

async function growth(): Promise<void> {
  for (const [what, ratio] of Object.entries(await scale())) {
    results.add({
      what: `1,000,000 queued, against 1,000: ${what}`,
      measured: times(ratio),
      ...atMost(1.1, ratio),
    });
  }
  for (const [what, ratio] of Object.entries(await ledgerScale())) {
    results.add({
      what: `10,000,000 in the ledger, against 1,000: ${what}`,
      measured: times(ratio),
      ...atMost(1.1, ratio),
    });
  }
}

async function waiting(): Promise<void> {
  const ms = await wakingMs();
  results.add({
    what: 'enqueue to POST, idle queue: median',
    measured: `${ms.toFixed(1)} ms`,
    budget: 'under 5 ms',
    holds: ms < 5,
  });
  underMB('RSS of drain, 20 × 25 MB queued', await memoryMB(), 250);
  const idle = await inBench(async (t) => idleMemory(t));
  underMB('RSS of an idle drain', idle.drain, 80);
  underMB('RSS of an idle proxy', idle.proxy, 80);
}

/** One rate against another one, with the messages a second of both. */
function against(what: string, ours: Rate, other: Rate, least?: number): void {
  const ratio = ours.perSecond / other.perSecond;
  const rates = [ours, other].map(({ perSecond }) => Math.round(perSecond)).join(' to ');
  const measured = `${times(ratio)} (${rates} a s)`;
  const { bound } = ours;
  results.add({ what, measured, ...(least !== undefined && atLeast(least, ratio)), bound });
}

function underMB(what: string, mb: number, most: number): void {
  const measured = `${Math.round(mb)} MB`;
  results.add({ what, measured, budget: `under ${most} MB`, holds: mb < most });
}

function atLeast(least: number, ratio: number): { budget: string; holds: boolean } {
  return { budget: `at least ${least}`, holds: ratio >= least };
}

function atMost(most: number, ratio: number): { budget: string; holds: boolean } {
  return { budget: `at most ${most}`, holds: ratio <= most };
}

function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`;
}
