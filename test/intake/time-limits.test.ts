import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { systemClock, type Clock } from '../../src/host/clock.ts';
import { intakeJournal } from '../../src/intake/intake-journal.ts';
import { LmtpServer } from '../../src/intake/lmtp-server.ts';
import { SpoolWriter } from '../../src/intake/spool-writer.ts';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { limits } from '../../src/limits.ts';
import { LmtpClient, lmtpMail } from '../support/lmtp.ts';
import { Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';
import { until } from '../support/until.ts';

/** Drain has seen so much time pass, and the wall clock was set back. */
function moveObserved(spool: string, ms: number): void {
  const db = new Database(join(spool, 'spool.db'));
  db.prepare('UPDATE clock SET observed_ms = observed_ms + ?, written_at = 0').run(ms);
  db.close();
}

/** A clock that the test moves on. */
class HandClock implements Clock {
  readonly wallNow = (): number => systemClock.wallNow();
  readonly random = (): number => systemClock.random();
  readonly randomBytes = (size: number): Buffer => systemClock.randomBytes(size);
  #now = 0;
  readonly #timers = new Map<() => void, number>();

  now(): number {
    return this.#now;
  }

  timer(ms: number, callback: () => void): () => void {
    const ring = () => callback();
    this.#timers.set(ring, this.#now + ms);
    return () => this.#timers.delete(ring);
  }

  /** Time passes, and each timer rings when it is due. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].toSorted(([, one], [, two]) => one - two);
      if (!next || next[1] > end) break;
      await this.#ring(...next);
    }
    this.#now = end;
    await turns();
  }

  /** The machine sleeps: all timers ring late. */
  async sleep(ms: number): Promise<void> {
    this.#now += ms;
    const due = [...this.#timers].filter(([, at]) => at <= this.#now);
    for (const [ring] of due) await this.#ring(ring, this.#now);
  }

  async #ring(ring: () => void, at: number): Promise<void> {
    this.#now = Math.max(this.#now, at);
    this.#timers.delete(ring);
    ring();
    await turns();
  }
}

/** What was written to a socket within this process is read. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await setImmediate();
}

async function serve(t: TestContext) {
  const road = new Road(t);
  const clock = new HandClock();
  const lines: string[] = [];
  const journal = intakeJournal(({ text }) => void lines.push(text));
  const writer = new SpoolWriter(road.spool, journal, clock);
  const server = new LmtpServer({ writer, bytesMax: limits.messageBytes, journal, clock });
  const path = join(road.folder, 'intake.sock');
  await server.start({ wanted: { path } });
  t.after(async () => {
    const stopped = server.stop();
    await clock.pass(2 * limits.stopMs);
    await stopped;
    writer.close();
  });
  const open = async () => {
    const client = await LmtpClient.open(t, path);
    await client.hears(/^220/);
    return client;
  };
  return { road, clock, server, open, writer };
}

const MINUTE = 60_000;
/** Real time within which the server has to close after time has passed by the clock: a limit that is broken fails soon. */
const SOON_MS = 20_000;

test('a silent client is sent away after 5 minutes, and one that speaks is not', async (t) => {
  const { clock, open } = await serve(t);
  const [silent, speaking] = [await open(), await open()];
  await clock.pass(3 * MINUTE);
  speaking.say('NOOP\r\n');
  await speaking.hears(/^250/);
  await clock.pass(2 * MINUTE + 1000);
  assert.match(await silent.closed(SOON_MS), /\r\n421 4\.4\.2 nothing has come for too long\r\n$/);
  speaking.say('NOOP\r\n');
  await speaking.hears(/^250/, 2);
});

test('a command that comes too slowly ends the connection after 5 minutes, and a message after 30', async (t) => {
  const { clock, open, road } = await serve(t);
  const [command, message] = [await open(), await open()];
  message.say('LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n');
  await message.hears(/^354/);
  for (let minute = 0; minute < 6; minute += 1) {
    command.say('N');
    message.say('x');
    await turns();
    await clock.pass(MINUTE);
  }
  assert.match(await command.closed(SOON_MS), /\r\n421 4\.4\.2 this takes too long\r\n$/);
  for (let minute = 6; minute < 31; minute += 1) {
    message.say('x');
    await turns();
    await clock.pass(MINUTE);
  }
  assert.match(await message.closed(SOON_MS), /\r\n421 4\.4\.2 this takes too long\r\n$/);
  assert.deepEqual(stored(road.spool), []);
});

/** Two messages that are under way: one that has just begun, and one that fills the memory and has to wait for it. */
async function crowd(open: () => Promise<LmtpClient>) {
  const [first, large] = [await open(), await open()];
  for (const client of [first, large]) {
    client.say('LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n');
    await client.hears(/^354/);
    client.say('Subject: x\r\n');
    await turns();
  }
  // Each part is written when the one before it was taken, so that it shows when the server takes no more.
  const part = Buffer.alloc(1_000_000, `${'x'.repeat(70)}\r\n`);
  const parts = Math.ceil(limits.intakeBytes / part.length) + 10;
  let [taken, before] = [0, -1];
  const write = () => {
    const next = taken < parts ? part : '\r\n.\r\n';
    large.socket.write(next, (error) => {
      taken += 1;
      if (!error && taken <= parts) write();
    });
  };
  write();
  const isFull = () => {
    const stands = taken > parts / 2 && taken === before;
    before = taken;
    return stands;
  };
  await until(isFull, () => `${taken} of ${parts} parts were taken`);
  return { first, large };
}

test('law 7: a client that is silent for 10 s while others wait for its memory is sent away, and they go on', async (t) => {
  const { clock, open, road } = await serve(t);
  const { first, large } = await crowd(open);
  await clock.pass(limits.intakeStallMs + 1000);
  assert.match(await first.closed(SOON_MS), /\r\n421 4\.4\.2 nothing has come for too long\r\n$/);
  await large.hears(/^250 2\.0\.0 queued/);
  assert.equal(stored(road.spool).length, 1);
});

test('law 7: a message that waits for memory for 90 s is to be handed over again, and its memory is free', async (t) => {
  const { clock, open, road } = await serve(t);
  const { first, large } = await crowd(open);
  for (let second = 0; second < 96; second += 4) {
    first.say('x');
    await turns();
    await clock.pass(4000);
  }
  assert.match(await large.closed(SOON_MS), /\r\n421 4\.3\.1 too many large messages come at once/);
  first.say('\r\n.\r\n');
  await first.hears(/^250 2\.0\.0 queued/);
  assert.equal(stored(road.spool).length, 1);
});

test('law 1: a message is 4xx when another program has been writing to the spool for 20 s, and the next one is taken', async (t) => {
  const { clock, open, road } = await serve(t);
  const [client, beside] = [await open(), await open()];
  client.say(Buffer.concat([Buffer.from('LHLO x\r\n'), lmtpMail({ eximId: 'before' })]));
  await client.hears(/^250 2\.0\.0 queued/);
  const other = new Database(join(road.spool, 'spool.db'));
  other.exec('BEGIN IMMEDIATE');
  client.say(lmtpMail({ eximId: 'locked' }));
  await client.hears(/^354/, 2);
  beside.say('NOOP\r\n');
  await beside.hears(/^250 2\.0\.0 OK/);
  assert.doesNotMatch(client.text, /queued.*[^]*queued/);
  await clock.sleep(limits.busyMs);
  await client.hears(
    /^451 4\.3\.0 not queued, try again later: another program has been writing to the spool for 20 s/,
  );
  other.exec('ROLLBACK');
  other.close();
  client.say(lmtpMail({ eximId: 'locked' }));
  await client.hears(/^250 2\.0\.0 queued/, 2);
  assert.deepEqual(
    stored(road.spool).map(({ eximId }) => eximId),
    ['before', 'locked'],
  );
});

test('the time in which the machine slept counts for nobody', async (t) => {
  const { clock, open, road } = await serve(t);
  const client = await open();
  client.say('LHLO x\r\n');
  await client.hears(/^250 XFORWARD/);
  await clock.sleep(60 * MINUTE);
  client.say(lmtpMail());
  await client.hears(/^250 2\.0\.0 queued/);
  assert.equal(stored(road.spool).length, 1);
});

test('it is idle since the last connection ended', async (t) => {
  const { clock, open, server } = await serve(t);
  await clock.pass(MINUTE);
  assert.equal(server.idleMs, MINUTE);
  const client = await open();
  await clock.pass(MINUTE);
  assert.equal(server.idleMs, 0);
  await client.end('QUIT\r\n');
  await turns();
  await clock.pass(2 * MINUTE);
  assert.equal(server.idleMs, 2 * MINUTE);
});

test('a client that has begun nothing when the server is stopped is cut off after 30 s', async (t) => {
  const { clock, open, server } = await serve(t);
  const client = await open();
  const stopped = server.stop();
  await clock.pass(limits.stopMs - 100);
  assert.equal(client.text, '220 appengine-mailer LMTP\r\n');
  await clock.pass(1000);
  assert.match(await client.closed(), /\r\n421 4\.3\.2 the server is being restarted/);
  await stopped;
});

test('law 2, law 12: without an id of the client, a message is known for an hour of observed time, and no step of the wall clock matters', async (t) => {
  const { open, road, writer } = await serve(t);
  const hand = async () => {
    const client = await open();
    const text = await client.end(Buffer.concat([Buffer.from('LHLO x\r\n'), lmtpMail()]));
    return /^250 2\.0\.0 (.*) [0-9a-f]{32}\r$/m.exec(text)?.[1];
  };
  assert.equal(await hand(), 'queued');
  writer.close();
  moveObserved(road.spool, limits.repeatMs - 1000);
  assert.equal(await hand(), 'already queued');
  writer.close();
  moveObserved(road.spool, 1000);
  assert.equal(await hand(), 'queued');
  assert.equal(await hand(), 'already queued');
  assert.equal(stored(road.spool).length, 2);
});
