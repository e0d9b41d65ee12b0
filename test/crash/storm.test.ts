import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { Arrivals } from '../support/arrivals.ts';
import { figures, LONG } from '../support/figures.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { PrivateExim } from '../support/private-exim.ts';
import { processTree } from '../support/process-tree.ts';
import type { Program } from '../support/program.ts';
import { random, type Random } from '../support/random.ts';
import { Road } from '../support/road.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { Storm } from '../support/storm.ts';

const MESSAGES = LONG ? 20_000 : 200;
/** After each part all comes to rest and must add up. */
const PARTS = LONG ? 10 : 2;
const STORM = { longestAway: LONG ? 120 : 2, patience: LONG ? 30 : 3 };

interface Mail {
  sender: string;
  recipients: string[];
  body: string;
}

/** What arrived, and how often. */
interface Arrived {
  sender: string;
  recipients: string[];
  bytes: Buffer;
  times: number;
}

const needed = { ...needs('exim4', 'root', 'faketime'), timeout: 7_200_000 };

for (const way of ['exim-pipe', 'LMTP'] as const) {
  test(
    `law 2, law 6, law 7, law 8: in a storm from Exim by ${way} to the file backend all mail arrives, once`,
    needed,
    async (t) => fromExim(t, way),
  );
}

async function fromExim(t: TestContext, way: 'exim-pipe' | 'LMTP'): Promise<void> {
  const choices = random(t);
  const road = new Road(t);
  const exim = new PrivateExim(road);
  let intake = way === 'LMTP' ? await exim.intake() : undefined;
  const { handOverAll, kill } = queueRuns(exim, choices);
  const storm = await Storm.start(road, {
    random: choices,
    ...STORM,
    more: {
      'Exim killed': kill((name) => name === 'exim4'),
      [`${way} killed`]: async () => {
        if (!intake) return kill((name) => name !== 'exim4')();
        await intake.program.stop('SIGKILL');
        await sleep(choices.below(300));
        intake = await exim.intake();
      },
    },
  });
  const arrivals = Arrivals.inFolder(t, road.delivered);

  const all: Mail[] = [];
  for (let part = 1; part <= PARTS; part += 1) {
    const mails = makeMails(all.length, MESSAGES / PARTS);
    all.push(...mails);
    await exim.take(mails.map((mail) => ({ ...mail, message: message(mail, '\r\n') })));
    const handedOver = handOverAll();
    await storm.rage(arrivals, all.length - mails.length / 10, LONG ? 20 : 8);
    await handedOver;
    await checkCalm(storm, all.length);
  }

  const times = new Map([...arrivals.times].map(([name, count]) => [name.slice(0, 32), count]));
  const found = road.deliveries().map((each) => ({ ...each, times: times.get(each.id) ?? 0 }));
  assert.equal(found.length, MESSAGES, 'a message was taken twice from Exim');
  const again = checkArrived(road, all, found);
  const log = exim.mainlog();
  const bounces = log.filter((line) => / \*\* | <= <>/.test(line));
  assert.deepEqual([bounces, exim.mailbox()], [[], '']);
  assert.ok(storm.diedAtWork + again.unknown > 0, 'nobody was killed at work: nothing is proven');
  const repeated = log.filter((line) => line.includes('already queued')).length;
  figures(t, `storm, file backend, ${way}`, {
    ...storm.figures,
    'handed over again': repeated,
    ...again,
  });
}

/** Has Exim hand all of its queue over, by several runs at a time, of which one can be killed. */
function queueRuns(exim: PrivateExim, choices: Random) {
  const runs = new Set<Program>();
  return {
    handOverAll: async () => {
      while ((await exim.queued()) > 0) {
        const some = [exim.startQueueRun(), exim.startQueueRun(), exim.startQueueRun()];
        for (const run of some) runs.add(run);
        await Promise.all(some.map(async ({ ended }) => ended));
        for (const run of some) runs.delete(run);
      }
    },
    kill: (isVictim: (name: string) => boolean) => () => {
      const processes = [...runs].flatMap(({ child }) => processTree(child.pid ?? 0));
      const victims = processes.filter(({ name }) => isVictim(name));
      const victim = victims[choices.below(victims.length)];
      try {
        if (victim) process.kill(victim.pid, 'SIGKILL');
      } catch (error) {
        // It has ended by itself since.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    },
  };
}

test(
  'law 6, law 7, law 8: in a storm over a relay that recognises no repeat, only what the ledger lists as unknown is sent again',
  needed,
  async (t) => {
    const choices = random(t);
    const road = new Road(t);
    const arrivals = new Arrivals();
    const taken = '250 2.0.0 Ok';
    let reply = taken;
    const relay = await ScriptedSmtp.start(t, {
      message: (text) => {
        const now = reply;
        reply = taken;
        if (now !== 'cut') arrivals.add(/^Subject: (\d+)/m.exec(text)?.[1] ?? '');
        return now;
      },
    });
    const host = ['--smtp-host', '127.0.0.1', '--smtp-port', String(relay.port)];
    const storm = await Storm.start(road, {
      random: choices,
      ...STORM,
      proxyArgs: ['--backend', 'smtp', ...host, '--smtp-security', 'none'],
      more: {
        'answer of the relay lost': () => void (reply = 'lost'),
        'relay breaks off': () => void (reply = 'cut'),
      },
      over: () => void (reply = taken),
    });
    // Straight into the spool: without Exim's pace there is always much in flight.
    const all: Mail[] = [];
    for (let part = 1; part <= PARTS; part += 1) {
      const mails = makeMails(all.length, MESSAGES / PARTS);
      all.push(...mails);
      handIn(
        road.spool,
        mails.map((mail) => ({ ...mail, bytes: message(mail, '\n') })),
      );
      await storm.rage(arrivals, all.length - mails.length / 10, LONG ? 60 : 10);
      await checkCalm(storm, all.length);
    }
    const found = relay.messages.map(({ envelope, bytes }) => {
      const [sender = '', ...recipients] = envelope.map((line) => /<(.*)>/.exec(line)?.[1] ?? '');
      return { sender, recipients, bytes, times: 1 };
    });
    const again = checkArrived(road, all, found);
    assert.ok(storm.diedAtWork + again.unknown > 0, 'nobody was killed at work: nothing is proven');
    figures(t, 'storm, smtp backend', { ...storm.figures, ...again });
  },
);

function makeMails(first: number, count: number): Mail[] {
  return Array.from({ length: count }, (_, index) => {
    const number = first + index;
    // Now and then a large one, which is posted and written in many pieces.
    const lines = number % 50 === 0 ? 20_000 : 20;
    return {
      sender: `sender-${number}@example.com`,
      recipients: ['a', 'b', 'c']
        .slice(0, 1 + (number % 3))
        .map((r) => `${r}${number}@example.org`),
      body: `number ${number}\n`.repeat(lines),
    };
  });
}

function message({ sender, body }: Mail, newline: string): Buffer {
  const number = /\d+/.exec(sender)?.[0];
  return Buffer.from(`Subject: ${number}\n\n${body}`.replaceAll('\n', newline));
}

/** Everything is sent, nothing failed, and law 8's sum is right. */
async function checkCalm(storm: Storm, count: number): Promise<void> {
  const spooled = await storm.calm();
  assert.equal(spooled.length, count);
  assert.deepEqual(
    spooled.filter(({ state }) => state !== 'sent'),
    [],
  );
}

/** None lost, and none doubled but for an outcome that the ledger lists as unknown. Counts these. */
function checkArrived(road: Road, mails: readonly Mail[], found: readonly Arrived[]) {
  const wanted = new Map(mails.flatMap((mail) => mail.recipients.map((r) => [r, mail])));
  const copies = new Map<string, number>();
  for (const { sender, recipients, bytes, times } of found) {
    const mail = wanted.get(recipients[0] ?? '');
    assert.equal(sender, mail?.sender);
    const text = bytes.toString().replaceAll('\r\n', '\n');
    assert.equal(text.slice(text.indexOf('\n\n') + 2), mail?.body);
    for (const recipient of recipients) {
      copies.set(recipient, (copies.get(recipient) ?? 0) + times);
    }
  }
  const unknown = listedUnknown(join(road.folder, 'ledger.db'));
  const listed = (recipient: string) => unknown.get(recipient) ?? 0;
  const lost = [...wanted.keys()].filter((recipient) => !copies.has(recipient));
  const doubled = [...copies].filter(([recipient, times]) => times > 1 + listed(recipient));
  assert.deepEqual({ lost, doubled }, { lost: [], doubled: [] });
  const again = [...copies.values()].map((times) => Math.max(0, times - 1));
  return { unknown: sum(unknown.values()), 'sent again': sum(again) };
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((total, each) => total + each, 0);
}

/** How often each recipient is listed as unknown. */
function listedUnknown(ledger: string): Map<string, number> {
  const db = new Database(ledger, { readonly: true });
  try {
    const listed = db.prepare<[], [string, number]>(
      'SELECT address, count(*) FROM unknown GROUP BY address',
    );
    return new Map(listed.raw().all());
  } finally {
    db.close();
  }
}
