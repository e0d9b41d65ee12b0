import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { needs } from '../support/needs.ts';
import type { Relaying } from './backlog.ts';
import { burst, handOver } from './hand-over.ts';
import { memoryMB } from './memory.ts';
import { pipeCpu } from './pipe-cpu.ts';
import { drainsToShared, drainToDiscard, drainToShared, drainToSmtp } from './relay-drain.ts';
import { exim } from './relay-exim.ts';
import { nullmailer } from './relay-nullmailer.ts';
import { postfix } from './relay-postfix.ts';
import { scale } from './scale.ts';
import { wakingMs } from './waking.ts';
import { besideWriters } from './writers.ts';

// `npm run bench`: the budgets of the product as ratios, measured in one run on one machine. A number after it is that of the
// messages of the burst.

const BACKLOG = 20_000;
/** For those that take one message after the other: the rate is the same. */
const SHORT_BACKLOG = 500;
const BURST = Number(process.argv[2] ?? 10_000);

print('what', 'measured', 'budget', 'holds');
const rate = async (relaying: Relaying, count: number) => count / (await relaying(count));

const cpu = await pipeCpu();
print('exim-pipe, CPU for 4 KB, against node -e 0', times(cpu), 'at most 1.5', cpu <= 1.5);

const { skip: eximLacking } = needs('root', 'postfix', 'exim4');
if (eximLacking !== false) print('Exim by LMTP', eximLacking, '', false);
else {
  const { rate: byLmtp, cpuMs } = await handOver();
  print(
    'Exim by LMTP, against Exim by a pipe to /bin/cat',
    times(byLmtp),
    'at least 1.0',
    byLmtp >= 1,
  );
  print('the LMTP server, CPU for 4 KB', `${cpuMs.toFixed(1)} ms`, 'at most 3 ms', cpuMs <= 3);
  const { inSpool, atProxy, atSmarthost } = await burst(BURST);
  print(`a burst of ${BURST} by sendmail, all in the spool`, secondsOf(inSpool));
  print('… all at the proxy', secondsOf(atProxy));
  print('… the same burst, Exim alone to smtp-sink', secondsOf(atSmarthost));
}

const { skip: lacking } = needs('root', 'postfix', 'exim4', 'nullmailer');
if (lacking !== false) print('the backlog', lacking, '', false);
else {
  const discard = await rate(drainToDiscard, BACKLOG);
  const smtp = await rate(drainToSmtp, BACKLOG);
  const byPostfix = await rate(postfix, BACKLOG);
  const [toDiscard, toSmtp] = [discard / byPostfix, smtp / byPostfix];
  print(
    'drain to proxy, against Postfix to smtp-sink',
    times(toDiscard),
    'at least 5',
    toDiscard >= 5,
  );
  print('the same, proxy relays to smtp-sink', times(toSmtp), 'at least 1.5', toSmtp >= 1.5);
  print('the same, against nullmailer', times(smtp / (await rate(nullmailer, SHORT_BACKLOG))));
  print("the same, against a run of Exim's queue", times(smtp / (await rate(exim, SHORT_BACKLOG))));
  const perSecond = [discard, smtp, byPostfix].map((each) => Math.round(each)).join(', ');
  print('(messages a second: to proxy, and relayed, Postfix)', perSecond);
}

const { alone, beside } = await besideWriters();
print(
  'drain beside 8 writers that never pause, against drain alone',
  times(beside / alone),
  'at least 0.50',
  beside >= alone / 2,
);

if (needs('postgres').skip === false) {
  const shared = (await rate(drainToShared, BACKLOG)) / (await rate(drainToDiscard, BACKLOG));
  print('ledger in PostgreSQL against SQLite', times(shared), 'at least 0.80', shared >= 0.8);
  const three = (await rate(drainsToShared(3), BACKLOG)) / (await rate(drainsToShared(1), BACKLOG));
  print('three hosts: three proxies against one', times(three), 'at least 1.00', three >= 1);
}

for (const [what, ratio] of Object.entries(await scale())) {
  print(`1,000,000 queued against 1,000: ${what}`, times(ratio), 'at most 1.10', ratio <= 1.1);
}
const ms = await wakingMs();
print('enqueue to POST, idle queue: median', `${ms.toFixed(1)} ms`, 'under 15 ms', ms < 15);
const mb = await memoryMB();
print('RSS of drain, 20 × 25 MB queued', `${Math.round(mb)} MB`, 'under 250 MB', mb < 250);

const [processor] = cpus();
const memoryGB = Math.round(totalmem() / 1e9);
const [load = ''] = readFileSync('/proc/loadavg', 'utf8').split(' ', 1);
console.log(
  `\n${cpus().length} × ${processor?.model}, ${memoryGB} GB, Linux ${release()}, Node.js ${process.version}; load ${load}`,
);

function secondsOf(took: number): string {
  return `${took.toFixed(1)} s`;
}

function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`;
}

function print(what: string, measured: string, budget = '', holds?: boolean | string): void {
  const word = typeof holds === 'boolean' ? (holds ? 'yes' : 'NO') : (holds ?? '');
  console.log([what.padEnd(62), measured.padEnd(18), budget.padEnd(14), word].join(' ').trimEnd());
}
