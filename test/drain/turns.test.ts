import assert from 'node:assert/strict';
import { EventEmitter, on, once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { DrainOptions } from '../../src/drain/drain-options.ts';
import { drain, type Ending } from '../../src/drain/drain.ts';
import { drainJournal } from '../../src/drain/drain-journal.ts';
import { SdNotify } from '../../src/host/systemd/sd-notify.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { limits } from '../../src/limits.ts';
import { Connection } from '../../src/wire/connection.ts';
import { postOnceOver, type PostOnce } from '../../src/wire/post-once.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handIn } from '../support/hand-in.ts';
import { handOver } from '../support/hand-over.ts';
import { inTime } from '../support/in-time.ts';
import { usualRetryTimes } from '../support/retry-times.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';

interface CountedOptions {
  proxy?: string;
  smtpPort?: number;
  postOnce?: PostOnce;
}

/** A drain in the test's own process, whose turns can be counted. */
class CountedDrain {
  readonly ending: Promise<Ending>;
  readonly #stop = new AbortController();
  #turns = 0;

  constructor(
    t: TestContext,
    options: Pick<DrainOptions, 'spool' | 'once' | 'journal'>,
    { proxy = 'http://127.0.0.1:1/', smtpPort = 1, postOnce }: CountedOptions,
  ) {
    const notify = new SdNotify({});
    // Each turn gives a sign of life.
    notify.working = () => (this.#turns += 1);
    const connection = new Connection({ url: new URL(proxy), key: Buffer.from('a key') });
    this.ending = drain({
      ...options,
      proxies: [{ connection, postOnce: postOnce ?? postOnceOver(connection, 'v2') }],
      notify,
      reports: {
        server: { host: '127.0.0.1', port: smtpPort },
        perHour: 20,
        names: { host: 'mx.host.example', mail: 'host.example', unusable: undefined },
      },
      delayWarningsMs: [],
      retryTimes: usualRetryTimes,
      stop: this.#stop.signal,
    });
    t.after(async () => {
      this.stop();
      await this.ending;
    });
  }

  stop(): void {
    this.#stop.abort();
  }

  /** How many turns it takes while the event loop takes a hundred with nothing to do. */
  async turns(): Promise<number> {
    const before = this.#turns;
    for (let round = 0; round < 100; round += 1) await pause(1);
    return this.#turns - before;
  }
}

/** As many as news may bring; who waits no time between them takes about a hundred. */
const FEW = 10;

/** A spool with two messages. */
function twoQueued(t: TestContext): Spool {
  const spool = freshSpool(t);
  for (const eximId of ['first', 'second']) enqueue(spool, handOver({ eximId }), spool.now());
  return spool;
}

/** Makes the second message one whose sender is owed a report. */
const FAIL_SECOND =
  "UPDATE recipient SET state = 'failed', status = '5.1.1', reason = 'so' WHERE message = 2";

test('a drain that stops and waits for a post takes no turn for a report that it may not begin', async (t) => {
  const spool = twoQueued(t);
  const proxy = await ScriptedProxy.start(t, 'a key', () => {});
  const journal = drainJournal(() => {});
  const counted = new CountedDrain(t, { spool, once: false, journal }, { proxy: proxy.url });
  const [post] = await proxy.received(1);
  spool.db.exec(FAIL_SECOND);
  counted.stop();
  const turns = await counted.turns();
  assert.ok(turns <= FEW, `${turns}`);
  post.accept();
  assert.equal(await counted.ending, 'stopped');
});

for (const [how, isOnce, ending] of [
  ['that stops', false, 'stopped'],
  ['--once', true, 'unreachable'],
] as const) {
  test(`a drain ${how} and waits for a report takes no turn for a probe that it may not begin`, async (t) => {
    const spool = twoQueued(t);
    spool.db.exec(FAIL_SECOND);
    const events = new EventEmitter();
    const both = Promise.all([once(events, 'down'), once(events, 'handed')]);
    const hang = () => {
      events.emit('handed');
      return 'hang';
    };
    const smtp = await ScriptedSmtp.start(t, { RCPT: hang });
    const journal = drainJournal(({ text }) => {
      if (text.includes('is down')) events.emit('down');
    });
    const counted = new CountedDrain(t, { spool, once: isOnce, journal }, { smtpPort: smtp.port });
    await both;

    // The time until the endpoint is asked again is over.
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + 2000);
    if (isOnce) handIn(spool.folder, [{}]);
    else counted.stop();
    const turns = await counted.turns();
    assert.ok(turns <= FEW, `${turns}`);
    for (const socket of smtp.sockets) socket.destroy();
    assert.equal(await counted.ending, ending);
  });
}

test('house-keeping that fails is tried again when it is time, and mail goes on (law 5)', async (t) => {
  const spool = twoQueued(t);
  // One that is to be forgotten, and cannot be.
  spool.db.exec(`
    UPDATE recipient SET state = 'sent', status = '2.0.0', reason = 'so' WHERE message = 1;
    UPDATE message SET state = 'sent', due_at = NULL, finished_at = 1 WHERE seq = 1;
    CREATE TRIGGER broken BEFORE DELETE ON message BEGIN SELECT raise(ABORT, 'it is damaged'); END`);
  const proxy = await ScriptedProxy.start(t, 'a key', (post) => post.accept());
  const events = new EventEmitter();
  const journal = drainJournal(({ text }) => events.emit('line', text));
  const lines = on(events, 'line');
  const counted = new CountedDrain(t, { spool, once: false, journal }, { proxy: proxy.url });
  let troubles = 0;
  const now = performance.now.bind(performance);
  for await (const [text] of lines as AsyncIterable<[string]>) {
    if (text.includes('can be written again')) break;
    if (!text.includes('it is damaged')) continue;
    troubles += 1;
    assert.equal(troubles, 1);
    // The time until the spool is tried again is over.
    t.mock.method(performance, 'now', () => now() + 6000);
    handIn(spool.folder, [{}]);
  }
  counted.stop();
  assert.equal(await counted.ending, 'stopped');
});

/** A drain with more posts in flight than one turn records; they are answered by `answer`, or given up. */
async function manyInFlight(t: TestContext) {
  const spool = freshSpool(t);
  spool.transaction(() => {
    for (let number = 0; number < 2000; number += 1) {
      enqueue(spool, handOver({ eximId: `many-${number}` }), spool.now());
    }
  });
  const held = new EventEmitter<{ many: []; answer: [] }>();
  held.setMaxListeners(0);
  const many = once(held, 'many');
  let [posts, isAnswering] = [0, false];
  const postOnce: PostOnce = async ({ envelope }, signal) => {
    posts += 1;
    // By then so many may be in flight.
    if (posts <= 1500) await pause(20);
    else if (!isAnswering) {
      if (posts === 1500 + 2 * limits.turnMessages + 1) held.emit('many');
      await once(held, 'answer', { signal }).catch(() => {});
    }
    if (signal.aborted) return { kind: 'aborted' };
    const verdict = { status: '2.0.0', reason: 'ok' };
    const verdicts = envelope.recipients.map((recipient) => ({ recipient, ...verdict }));
    return { kind: 'verdicts', verdicts };
  };
  const journal = drainJournal(() => {});
  const counted = new CountedDrain(t, { spool, once: false, journal }, { postOnce });
  await inTime(many, () => `${posts} posts`);
  const answer = () => {
    isAnswering = true;
    held.emit('answer');
  };
  return { spool, counted, answer };
}

test('what is answered in one moment is recorded in several turns at once, so that each is short', async (t) => {
  const { spool, counted, answer } = await manyInFlight(t);
  const before = stats(spool).counters.sent;
  const sizes: number[] = [];
  let sent = before;
  const transaction = spool.transaction.bind(spool);
  spool.transaction = (action) => {
    const result = transaction(action);
    const now = stats(spool).counters.sent;
    if (now > sent) sizes.push(now - sent);
    sent = now;
    return result;
  };
  answer();
  await counted.turns();
  assert.ok(sent - before > 2 * limits.turnMessages, `${sent - before}`);
  assert.ok(Math.max(...sizes) <= limits.turnMessages, sizes.join());
  counted.stop();
  assert.equal(await counted.ending, 'stopped');
});

test('a drain that is stopped records all that it gives up, also more than one turn does (law 7)', async (t) => {
  const { stopMs } = limits;
  t.after(() => Object.assign(limits, { stopMs }));
  const { spool, counted } = await manyInFlight(t);
  Object.assign(limits, { stopMs: 100 }); // Shortened.
  counted.stop();
  assert.equal(await counted.ending, 'stopped');
  assert.equal(stats(spool).counters.sending, 0);
});
