import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { allPrograms, type Program } from '../../src/cli/command-line.ts';
import type { Command } from '../../src/host/command.ts';
import { statuses } from '../../src/mail/enhanced-status.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { claim } from '../../src/spool/claim.ts';
import { drainLock } from '../../src/spool/locks.ts';
import { recordDown, recordPassed } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { operate } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import { Spool } from '../../src/spool/spool.ts';
import { assertGolden } from '../support/golden.ts';
import { handOver } from '../support/hand-over.ts';
import { inProcess } from '../support/in-process.ts';
import { scratch } from '../support/scratch.ts';

// What the commands print, in files that a reviewer sees: with fixed ids, at a fixed time, in UTC.
process.env['TZ'] = 'UTC';
const NOW = Date.parse('2026-11-28T12:00:00Z');
const [MINUTE, HOUR] = [60_000, 3_600_000];

/** What `$ COMMAND` prints, with the command before it, and what else it says of itself. */
async function typed(line: string, ...more: string[]): Promise<string> {
  const [program = '', ...words] = line.split(' ');
  const args = [...words, ...more];
  const { code, stdout, stderr } = await inProcess(program as Program, args);
  return `$ ${line}\n${stdout.toString()}${stderr}${code === 0 ? '' : `(exit code ${code})\n`}\n`;
}

async function typedAll(lines: readonly string[], ...more: string[]): Promise<string> {
  let text = '';
  for (const line of lines) text += await typed(line, ...more);
  return text;
}

function commandLines(line: string, { commands }: Command): string[] {
  const below = commands.filter(({ describe }) => describe !== undefined);
  return [line, ...below.flatMap((each) => commandLines(`${line} ${each.name}`, each))];
}

for (const [name, program] of Object.entries(await allPrograms())) {
  test(`the --help of ${name} and its commands is as reviewed`, async () => {
    const lines = commandLines(name, program).map((line) => `${line} --help`);
    assertGolden(`test/cli/golden/help-${name}.txt`, await typedAll(lines));
  });
}

test('what is wrong with a command line is said as reviewed', async () => {
  const lines = [
    'appengine-mailer',
    'appengine-mailer frobnicate',
    'appengine-mailer exim',
    'appengine-mailer queue show',
    'appengine-mailer queue explain a b',
    'appengine-mailer queue explain a b c',
    'appengine-mailer queue explain a --b',
    'appengine-mailer queue list --sendr a@example.org',
    'appengine-mailer queue list --sender',
    'appengine-mailer queue list --sender example.org',
    'appengine-mailer queue list --older-than yesterday',
    'appengine-mailer queue list --state lost',
    'appengine-mailer queue list --json --ids',
    'appengine-mailer queue stats --max-age 1h --max-age 2h',
    'appengine-mailer queue delete',
    'appengine-mailer queue delete --all --state held',
    'appengine-mailer queue export file --confirm --take-back',
    'appengine-mailer queue fsck --check --ledger ledger.db',
    'appengine-mailer check --send nobody',
    'appengine-mailer drain --once=maybe',
    'appengine-mailer proxy --listen 8025',
    'appengine-mailer proxy --allow-sender *@example.org',
    'gmail -s subject',
    'gmail --queue --fix-sender a@example.org',
  ];
  assertGolden('test/cli/golden/wrong-usage.txt', await typedAll(lines));
});

/** The ids of the messages of a made spool: 1111…, 2222…, and so on. */
const idOf = (nth: number) => String(nth).repeat(32).slice(0, 32);

/** Makes a spool with a message in each state that an administrator meets. */
function madeSpool(t: TestContext): { folder: string; spool: Spool } {
  t.mock.timers.enable({ apis: ['Date'], now: NOW - 2 * HOUR });
  const folder = scratch(t);
  const spool = new Spool(folder, 'pipe');
  t.after(() => spool.close());
  const add = (nth: number, sender: string, ...recipients: string[]) => {
    const message = `Subject: message ${nth}\n\nHello\n`;
    const eximId = `1vOQ2${nth}-00000000${nth}-0000`;
    enqueue(spool, handOver({ eximId, sender, recipients, message }), spool.now());
    spool.sql('UPDATE message SET id = ? WHERE exim_id = ?').run(idOf(nth), eximId);
  };
  add(1, 'www@example.com', 'ann@example.org', 'bob@example.org', 'eve@example.org');
  add(2, 'www@example.com', 'ann@example.org');
  add(3, 'www@example.com', 'gone@example.org');
  add(4, '', 'ann@example.org');
  add(5, 'root@example.com', 'ann@example.org');
  add(6, 'root@example.com', 'ann@example.org');
  t.mock.timers.setTime(NOW - 90 * MINUTE);
  const room = { messages: 10, bytes: 1_000_000, bypassBytes: 0 };
  const claimed = spool.transaction(() => claim(spool, room, spool.now()));
  const settle = (
    nth: number,
    said: [state: 'pending' | 'sent' | 'failed', status: string, reason: string][],
  ) => {
    const { seq = 0 } = claimed.find(({ id }) => id === idOf(nth)) ?? {};
    const verdicts = said.map(([state, status, reason], position) => ({
      position,
      state,
      status,
      reason,
    }));
    const [, lastStatus = '', lastReason = ''] =
      said.find(([state]) => state !== 'sent') ?? said[0] ?? [];
    const rest = {
      charged: true,
      warnings: 0,
      dueAt: spool.now() + 30_000,
      lastStatus,
      lastReason,
    };
    spool.transaction(() => record(spool, [{ seq, verdicts, ...rest }], spool.now()));
  };
  settle(1, [
    ['sent', '2.0.0', 'ok'],
    ['pending', '4.2.2', 'mailbox full'],
    ['failed', '5.1.1', 'no such user'],
  ]);
  settle(2, [['sent', '2.0.0', '250 2.0.0 queued as 4cYz']]);
  settle(3, [['failed', '5.1.1', 'no such user']]);
  settle(4, [['pending', '4.2.2', 'mailbox full']]);
  settle(5, [['pending', statuses.unknown, 'the relay closed the connection']]);
  settle(6, [['pending', '4.2.2', 'mailbox full']]);
  spool.transaction(() => recordPassed(spool, spool.now()));
  t.mock.timers.setTime(NOW - HOUR);
  operate(spool, idOf(4), { verb: 'hold', now: spool.now() });
  operate(spool, idOf(5), { verb: 'hold', now: spool.now() });
  operate(spool, idOf(6), { verb: 'delete', now: spool.now() });
  t.mock.timers.setTime(NOW - 5 * MINUTE);
  add(7, 'cron@example.com', 'ops@example.org');
  t.mock.timers.setTime(NOW);
  return { folder, spool };
}

const looks = [
  'appengine-mailer queue',
  'appengine-mailer queue list --state all --ids',
  'appengine-mailer queue list --sender @example.net',
  `appengine-mailer queue show ${idOf(1)}`,
  `appengine-mailer queue show ${idOf(7)} --json`,
  'appengine-mailer queue show nobody',
  'appengine-mailer queue stats',
  'appengine-mailer queue stats --json',
  'appengine-mailer queue stats --max-age 1h',
  ...[1, 2, 3, 4, 5, 6, 7].map((nth) => `appengine-mailer queue explain ${idOf(nth)}`),
  `appengine-mailer queue explain ${idOf(1)} --json`,
];

test('queue list, show, stats and explain print what was reviewed, without a drain', async (t) => {
  const { folder } = madeSpool(t);
  const text = await typedAll(looks, `--spool=${folder}`);
  assertGolden('test/cli/golden/queue.txt', text.replaceAll(folder, '/var/spool/appengine-mailer'));
});

test('queue list and explain print what was reviewed, while drain runs and the proxy is down', async (t) => {
  const { folder, spool } = madeSpool(t);
  const lock = drainLock(folder);
  t.after(() => lock?.release());
  const lines = ['appengine-mailer queue', `appengine-mailer queue explain ${idOf(7)}`];
  const running = await typedAll(lines, `--spool=${folder}`);
  const reason = 'the proxy cannot be reached: connect ECONNREFUSED 192.0.2.1:443';
  spool.transaction(() => recordDown(spool, reason, spool.now(), spool.now() + 30_000));
  const down = await typedAll([...lines, 'appengine-mailer queue stats'], `--spool=${folder}`);
  assertGolden('test/cli/golden/queue-and-drain.txt', `${running}The proxy is down:\n\n${down}`);
});

test('the commands on messages say what they did as reviewed', async (t) => {
  const { folder } = madeSpool(t);
  const lines = [
    `hold ${idOf(7)}`,
    `hold ${idOf(7)}`,
    'hold --all',
    `release ${idOf(2)} ${idOf(7)}`,
    'retry --recipient bob@example.org',
    `retry ${idOf(6)}`,
    `retry nobody nobody-else`,
    `bounce ${idOf(4)}`,
    'delete --all',
    'delete --sender @example.net',
  ].map((line) => `appengine-mailer queue ${line}`);
  assertGolden('test/cli/golden/operate.txt', await typedAll(lines, `--spool=${folder}`));
});

test('ledger list, show and stats print what was reviewed', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: NOW - HOUR });
  const file = join(scratch(t), 'ledger.db');
  const ledger = new SqliteLedger(file);
  const digest = Buffer.alloc(32, 7);
  const one = { key: 'web1', id: idOf(1) };
  const sent = { kind: 'sent', status: '2.0.0', reason: '250 2.0.0 queued as 4cYz' } as const;
  const unknown = { kind: 'unknown', reason: 'the relay closed the connection' } as const;
  await ledger.begin(one, digest, ['ann@example.org', 'bob@example.org']);
  await ledger.settle(one, [{ address: 'ann@example.org', ...sent }]);
  await ledger.settle(one, [{ address: 'bob@example.org', ...unknown }]);
  await ledger.begin({ key: '', id: idOf(2) }, digest, ['eve@example.org']);
  ledger.close();
  t.mock.timers.setTime(NOW);
  const lines = [
    'list',
    'list --state sent',
    'list --state begun',
    'list --json',
    'list --recipient @example.net',
    `show ${idOf(1)}`,
    'show nobody',
    'stats',
  ].map((line) => `appengine-mailer ledger ${line}`);
  const text = await typedAll(lines, `--ledger=${file}`);
  assertGolden('test/cli/golden/ledger.txt', text.replaceAll(file, '/var/lib/ledger.db'));
});
