import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { letPass } from '../support/let-pass.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A queue with one message that the proxy defers whenever it is posted. */
class Deferred {
  readonly road: Road;
  readonly proxy: ScriptedProxy;

  private constructor(road: Road, proxy: ScriptedProxy) {
    this.road = road;
    this.proxy = proxy;
  }

  static async start(t: TestContext): Promise<Deferred> {
    const road = new Road(t);
    const proxy = await ScriptedProxy.start(t, road.key, (post) =>
      post.answer(() => ({ status: '4.2.2', reason: 'mailbox full' })),
    );
    handIn(road.spool, [{}]);
    return new Deferred(road, proxy);
  }

  /** Runs drain once; returns what the journal said. */
  async drain(options: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
    const all = { GMAIL_PROXY_URL: this.proxy.url, ...env };
    const { code, stderr } = await this.road.drain(['--once', ...options], all).ended;
    assert.equal(code, 0, stderr);
    return stderr;
  }

  pass(ms: number): void {
    letPass(join(this.road.spool, 'spool.db'), ms);
  }

  /** In how many minutes it is due. */
  get waits(): number {
    const { messages, shown } = lookInto(this.road.spool);
    return ((messages[0]?.dueAt ?? NaN) - shown.now) / MINUTE;
  }
}

test('--first-wait and --longest-wait are how long what is deferred waits', async (t) => {
  const deferred = await Deferred.start(t);
  const options = ['--first-wait', '10m', '--longest-wait', '25m'];
  for (const minutes of [10, 20, 25, 25]) {
    await deferred.drain(options);
    const { waits } = deferred;
    assert.ok(waits > 0.79 * minutes && waits < 1.21 * minutes, `${waits}, and not ${minutes}`);
    deferred.pass(HOUR);
  }
});

test('a longest wait that was made shorter is that of what waits already, too', async (t) => {
  const deferred = await Deferred.start(t);
  const env = { APPENGINE_MAILER_FIRST_WAIT: '20h', APPENGINE_MAILER_LONGEST_WAIT: '1d' };
  await deferred.drain([], env);
  assert.ok(deferred.waits > 15 * 60, `${deferred.waits}`);
  await deferred.drain([], env);
  assert.equal(deferred.proxy.posts.length, 1, 'it has its time');

  await deferred.drain([]);
  assert.equal(deferred.proxy.posts.length, 2);
  assert.ok(deferred.waits < 2, `${deferred.waits}`);
});

test('--lifetime is how long a message is tried, and queue list says so', async (t) => {
  const deferred = await Deferred.start(t);
  const env = { APPENGINE_MAILER_LIFETIME: '3h' };
  await deferred.drain([], env);
  const [{ expires_at, queued_at } = {}] = (await deferred.road.messages()) as unknown as Record<
    string,
    string
  >[];
  const lives = Date.parse(expires_at ?? '') - Date.parse(queued_at ?? '');
  assert.ok(Math.abs(lives - 3 * HOUR) < 10 * MINUTE, `${lives}`);
  deferred.pass(2 * HOUR);
  assert.match(await deferred.drain([], env), /deferred \(4\.2\.2/);
  deferred.pass(2 * HOUR);
  assert.match(
    await deferred.drain([], env),
    /expired \(5\.4\.7 not delivered in 4 hours; the last answer was 4\.2\.2 mailbox full\)/,
  );
});

test('law 5: outages are added to a short lifetime as they are to a long one', async (t) => {
  const deferred = await Deferred.start(t);
  const options = ['--lifetime', '1h'];
  await deferred.drain(options);
  deferred.pass(HOUR / 2);
  const down = { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' };
  const { code } = await deferred.road.drain(['--once', ...options], down).ended;
  assert.equal(code, 69);
  deferred.pass(48 * HOUR);
  await deferred.drain(options);
  const [message] = lookInto(deferred.road.spool).messages;
  assert.deepEqual([message?.state, message?.attempts], ['queued', 2]);
});

const refused: [options: string[], said: RegExp][] = [
  [['--lifetime', '17d'], /--lifetime takes from 1h to 16d here and got 17d/],
  [['--lifetime', '59m'], /--lifetime takes from 1h to 16d here and got 59m/],
  [['--lifetime', '0s'], /--lifetime takes from 1h to 16d here and got 0s/],
  [['--lifetime', '5'], /--lifetime takes a duration such as/],
  [['--longest-wait', '25h'], /--longest-wait takes from 1s to 1d here and got 25h/],
  [['--lifetime', '2h', '--longest-wait', '3h'], /--longest-wait takes from 1s to 2h here/],
  [['--first-wait', '0.5s'], /--first-wait takes from 1s to 30m here and got 0.5s/],
  [['--first-wait', '31m'], /--first-wait takes from 1s to 30m here and got 31m/],
  [['--first-wait', '3s', '--longest-wait', '2s'], /--first-wait takes from 1s to 2s here/],
];
for (const [options, said] of refused) {
  test(`law 6: ${options.join(' ')} is refused: 64 as an option, 78 as a variable`, async (t) => {
    const road = new Road(t);
    const env: NodeJS.ProcessEnv = { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' };
    const variables = { ...env };
    options.forEach((option, at) => {
      const name = option.replace('--', 'APPENGINE_MAILER_').replaceAll('-', '_').toUpperCase();
      if (at % 2 === 0) variables[name] = options[at + 1];
    });
    const option = await road.drain(['--once', ...options], env).ended;
    assert.equal(option.code, 64, option.stderr);
    assert.match(option.stderr, said);
    const variable = await road.drain(['--once'], variables).ended;
    assert.equal(variable.code, 78, variable.stderr);
    assert.match(variable.stderr, /^appengine-mailer: APPENGINE_MAILER_/);
  });
}

test('the bounds themselves are taken', async (t) => {
  const deferred = await Deferred.start(t);
  await deferred.drain(['--lifetime', '16d', '--longest-wait', '1d', '--first-wait', '1s']);
  await deferred.drain(['--lifetime', '1h', '--longest-wait', '1h', '--first-wait', '1h']);
});
