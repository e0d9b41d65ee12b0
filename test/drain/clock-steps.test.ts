import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { Spool } from '../../src/spool/spool.ts';
import { clock, setClock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, type Program } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

// A machine without a battery clock boots with the time of its last shutdown, and NTP sets it right later. The wall
// clock is stepped here, and the monotonic one is the machine's.

const DAY = 86_400_000;
const STEPS = [6, 20, 400, 0, -6, -400, 2].map((days) => days * DAY);

/** What the journal says of an attempt that was about the message. */
const ANSWERED = /attempt \d+: <.*(?:deferred|expired)/;

interface Stage {
  road: Road;
  proxy: ScriptedProxy;
  env: NodeJS.ProcessEnv;
  /** Sets the wall clock of drain and of the queue commands. */
  step: (aheadMs: number) => void;
  drain: (...args: string[]) => Program;
  queue: (...args: string[]) => Promise<{ code: number | null; stderr: string }>;
}

/** A spool with one message, and a proxy that defers it. */
async function stage(t: TestContext): Promise<Stage> {
  const road = new Road(t);
  const file = join(road.folder, 'clock');
  const step = (aheadMs: number) => setClock(file, aheadMs);
  step(0);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.answer(() => ({ status: '4.2.2', reason: 'full' })),
  );
  const env = { GMAIL_PROXY_URL: proxy.url, ...clock({ file }) };
  const drain = (...args: string[]) => road.drain(args, env);
  const queue = async (...args: string[]) => {
    const words = ['queue', ...args, '--spool', road.spool];
    return appengineMailer(t, words, { input: '', env }).ended;
  };
  return { road, proxy, env, step, drain, queue };
}

/** Makes what is put off due. */
function makeDue(road: Road): void {
  const spool = new Spool(road.spool, 'operator');
  spool.db.exec(`UPDATE message SET due_at = 0 WHERE state = 'queued'`);
  spool.wakeDrain();
  spool.close();
}

/** The message is as it was before all steps, but for its attempts; nobody is owed a word about it. */
function checkWaits(road: Road, attempts: number): void {
  const { messages, counters } = lookInto(road.spool);
  assert.deepEqual(
    messages.map((message) => [message.state, message.attempts, message.lastStatus]),
    [['queued', attempts, '4.2.2']],
  );
  assert.equal(counters.queued, 1);
  const db = new Database(join(road.spool, 'spool.db'), { readonly: true });
  assert.equal(db.prepare('SELECT count(*) FROM notice').pluck().get(), 0, 'no word is owed');
  assert.equal(db.prepare('SELECT warned FROM message').pluck().get(), 0, 'no warning was due');
  db.close();
}

test(
  'law 12: whatever the wall clock is set to between its tries, a message is not given up and nobody is warned',
  needs('faketime'),
  async (t) => {
    const { road, step, drain } = await stage(t);
    handIn(road.spool, [{}]);
    const program = drain();
    await program.says(ANSWERED);
    for (const [times, aheadMs] of STEPS.entries()) {
      step(aheadMs);
      makeDue(road);
      await program.says(ANSWERED, times + 2);
      assert.doesNotMatch(program.stderr, /expired/);
    }
    assert.doesNotMatch(program.stderr, /expired|was told|is down/);
    assert.equal((await program.stop()).code, 0);
    checkWaits(road, 1 + STEPS.length);
  },
);

test(
  'law 12: nor is it where the clock is set while no drain runs, as at a boot; what is put off is tried at once then',
  needs('faketime'),
  async (t) => {
    const { road, step, drain } = await stage(t);
    handIn(road.spool, [{}]);
    assert.match((await drain('--once').ended).stderr, /deferred \(4\.2\.2/);
    for (const aheadMs of STEPS) {
      step(aheadMs);
      const { stderr } = await drain('--once').ended;
      assert.match(stderr, /deferred \(4\.2\.2/);
      assert.doesNotMatch(stderr, /expired|was told/);
    }
    checkWaits(road, 1 + STEPS.length);
  },
);

test(
  'law 12: a host that boots 20 days behind and without a network gives nothing up at its first real answer',
  needs('faketime'),
  async (t) => {
    const { road, proxy, step, drain } = await stage(t);
    step(-20 * DAY);
    handIn(road.spool, [{}]);
    const { script } = proxy;
    proxy.script = ({ response }) => void response.writeHead(502).end();
    const program = drain();
    await program.says(/ is down: /);
    step(0);
    proxy.script = script;
    await program.says(ANSWERED);
    await program.says(/ is back after /);
    assert.match(program.stderr, / is back after \d+ s;/);
    assert.doesNotMatch(program.stderr, /expired|was told/);
    assert.equal((await program.stop()).code, 0);
    checkWaits(road, 1);
  },
);

test(
  'law 12: a wall clock 400 days ahead for a while makes house-keeping forget nothing, and hand-overs known (law 2)',
  needs('faketime'),
  async (t) => {
    const { road, proxy, step, drain } = await stage(t);
    const message = bsmtp('s@example.com', ['r@example.org'], 'Subject: x\n\nHello\n');
    await road.pipe('sent', message);
    proxy.script = (post) => post.accept();
    assert.equal((await drain('--once').ended).code, 0);
    handIn(road.spool, [{ sender: '' }]);
    proxy.script = (post) => post.answer(() => ({ status: '5.1.1', reason: 'no such user' }));
    assert.equal((await drain('--once').ended).code, 0);

    const before = lookInto(road.spool);
    step(400 * DAY);
    assert.equal((await drain('--once').ended).code, 0);
    step(0);
    assert.equal((await drain('--once').ended).code, 0);
    const after = lookInto(road.spool);
    assert.deepEqual(after.messages, before.messages);
    assert.deepEqual(
      after.messages.map(({ state }) => state),
      ['sent', 'failed'],
    );
    assert.match(String((await road.pipe('sent', message)).stdout), /^already queued /);
  },
);

test(
  'law 12: retry and release want no --force, and --all misses nothing, for a clock that was wrong for a while',
  needs('faketime'),
  async (t) => {
    const { road, proxy, step, drain, queue } = await stage(t);
    step(-26 * DAY);
    const ids = handIn(road.spool, [{}, {}]);
    await drain('--once').ended;
    step(0);
    const retried = await queue('retry', ids[0] ?? '');
    assert.equal(retried.code, 0, retried.stderr);
    await queue('hold', ids[1] ?? '');
    const released = await queue('release', ids[1] ?? '');
    assert.equal(released.code, 0, released.stderr);

    // Messages that were queued while the clock was ahead.
    handIn(road.spool, [{}], { queuedAt: Date.now() + 400 * DAY });
    const held = await queue('hold', '--all');
    assert.equal(held.code, 0, held.stderr);
    assert.equal(lookInto(road.spool).counters.held, 3);
    assert.equal((await queue('release', '--all')).code, 0);
    proxy.script = (post) => post.accept();
    assert.equal((await drain('--once').ended).code, 0);
    assert.equal(lookInto(road.spool).counters.sent, 3);
  },
);
