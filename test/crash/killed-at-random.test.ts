import assert from 'node:assert/strict';
import { readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import * as fc from 'fast-check';
import { handIn } from '../support/hand-in.ts';
import { readSpool } from '../support/read-spool.ts';
import { bsmtp, Road } from '../support/road.ts';

const MESSAGES = 500;
/** Of these, handed in by the real exim-pipe while the others pass. */
const PIPED = 20;

const VICTIMS = [
  ...Array<'proxy'>(4).fill('proxy'),
  ...Array<'drain'>(6).fill('drain'),
  ...Array<'both'>(2).fill('both'),
];
const plans = fc.record({
  victims: fc.shuffledSubarray(VICTIMS, { minLength: VICTIMS.length }),
  /** How long after a delivery they die; with 0 the proxy is not done with it yet. */
  delaysMs: fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 30 })), {
    minLength: VICTIMS.length,
    maxLength: VICTIMS.length,
  }),
  /** How many messages have arrived when the first, second, … is killed. */
  arrivals: fc.uniqueArray(fc.integer({ min: 1, max: MESSAGES - 50 }), {
    minLength: VICTIMS.length,
    maxLength: VICTIMS.length,
  }),
});

test(
  'law 6, law 7, law 8: proxy and drain killed at random; each of 500 messages arrives once',
  { timeout: 300_000 },
  async (t) => {
    const seed = Number(process.env['KILL_SEED'] ?? 2012);
    t.diagnostic(`KILL_SEED=${seed}`);
    const [plan] = fc.sample(plans, { seed, numRuns: 1 });
    assert.ok(plan);
    const road = new Road(t);
    const messages = Array.from({ length: MESSAGES }, (_, number) => makeMessage(number));
    const queued = messages.slice(PIPED);
    const handedIn = new Map(handIn(road.spool, queued).map((id, index) => [id, queued[index]]));

    let proxy = await road.proxy();
    const arrivals = watchArrivals(road.delivered);
    t.after(() => arrivals.stop());
    let drain = road.drain();
    const drains = [drain];
    const piping = handInByPipe();

    const thresholds = plan.arrivals.toSorted((a, b) => a - b);
    for (const [turn, victim] of plan.victims.entries()) {
      await arrivals.reach(thresholds[turn] ?? 0);
      // Not even a timer of 0 ms when it is to die at once.
      const delay = plan.delaysMs[turn] ?? 0;
      if (delay > 0) await sleep(delay);
      await Promise.all([
        victim === 'drain' || proxy.stop('SIGKILL'),
        victim === 'proxy' || drain.stop('SIGKILL'),
      ]);
      if (victim !== 'drain') proxy = await road.proxy();
      if (victim !== 'proxy') drains.push((drain = road.drain()));
    }
    await piping;
    await arrivals.reach(MESSAGES);
    assert.equal((await drain.stop()).code, 0);
    assert.equal((await road.drain(['--once']).ended).code, 0);

    const delivered = road.deliveries().map(({ id, ...message }) => [id, message] as const);
    assert.deepEqual(new Map(delivered), handedIn);
    assert.equal(delivered.length, MESSAGES);
    // What a killed proxy left half-written is removed by one that starts a minute later.
    const whole = readdirSync(road.delivered).filter((name) => !name.endsWith('.part'));
    assert.equal(whole.length, 2 * MESSAGES);

    // The one excuse for sending twice is that the proxy died before it could note the first time.
    const unknown = listedUnknown(join(road.folder, 'ledger.db'));
    let twice = 0;
    for (const [name, times] of arrivals.times) {
      const excused = unknown.get(name.slice(0, 32)) ?? 0;
      assert.ok(times <= 1 + excused, `${name} came ${times} times, ${excused} of them unknown`);
      if (times > 1) twice += 1;
    }

    const left = readSpool(road.spool).filter(({ state }) => state !== 'sent');
    assert.deepEqual(left, []);
    const stats = await road.stats();
    assert.equal(stats['accepted'], MESSAGES);
    assert.equal(stats['sent'], MESSAGES);

    const inFlight = drains.filter(({ stderr }) => /being sent when drain last died/.test(stderr));
    t.diagnostic(
      `${inFlight.length} drains died with messages in flight, ` +
        `${unknown.size} messages were of unknown outcome, ${twice} were delivered again`,
    );
    assert.ok(
      inFlight.length > 0 && unknown.size > 0,
      'nobody was killed at work: nothing is proven',
    );

    async function handInByPipe(): Promise<void> {
      for (const [index, message] of messages.slice(0, PIPED).entries()) {
        const { sender, recipients, bytes } = message;
        const { code, stdout } = await road.pipe(
          `piped-${index}`,
          bsmtp(sender, recipients, bytes),
        );
        assert.equal(code, 0, String(stdout));
        handedIn.set(/^queued (\w+)\n$/.exec(String(stdout))?.[1] ?? '', message);
      }
    }
  },
);

function makeMessage(number: number) {
  // Now and then a large one, which is posted and written in many pieces.
  const size = number % 25 === 0 ? 300_000 : 1000;
  return {
    sender: `sender-${number}@example.com`,
    recipients: ['a', 'b', 'c'].slice(0, 1 + (number % 3)).map((name) => `${name}@example.org`),
    bytes: Buffer.from(`Subject: ${number}\n\n${`${number}\xff\0`.repeat(size / 4)}\n`, 'latin1'),
  };
}

/** Counts how often each .eml appears: one that replaces another was sent twice. */
function watchArrivals(folder: string) {
  const times = new Map<string, number>();
  const waiting = new Set<() => void>();
  const watcher = watch(folder, (event, name) => {
    if (event !== 'rename' || !name?.endsWith('.eml')) return;
    times.set(name, (times.get(name) ?? 0) + 1);
    for (const look of waiting) look();
  });
  return {
    times,
    stop: () => watcher.close(),
    /** Waits until so many different ones were there; fails when none comes for a minute. */
    async reach(count: number): Promise<void> {
      await new Promise<void>((resolve, reject) => {
        const none = () => reject(new Error(`stuck: ${times.size} of ${count} messages arrived`));
        let patience = setTimeout(none, 60_000);
        const look = () => {
          clearTimeout(patience);
          patience = setTimeout(none, 60_000);
          if (times.size < count) return;
          clearTimeout(patience);
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
    },
  };
}

/** How often the outcome of each message is listed as unknown, by id. */
function listedUnknown(ledger: string): Map<string, number> {
  const db = new Database(ledger, { readonly: true });
  const rows = db
    .prepare<[], [string, number]>(
      `SELECT message, max(times) FROM
         (SELECT message, count(*) AS times FROM unknown GROUP BY message, address)
       GROUP BY message`,
    )
    .raw()
    .all();
  db.close();
  return new Map(rows);
}
