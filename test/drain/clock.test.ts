import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { clock, setClock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { random } from '../support/random.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';
import { until } from '../support/until.ts';

test(
  'mail arrives whichever clock is wrong, and nothing is charged for it (law 5)',
  { ...needs('faketime'), concurrency: 3 },
  async (suite) => {
    const clocks: [string, NodeJS.ProcessEnv, NodeJS.ProcessEnv][] = [
      ['drain 1 h ahead', clock('+1h'), {}],
      ['drain 1 h behind', clock('-1h'), {}],
      ['drain years ahead', clock('+9y'), {}],
      ['proxy 1 h ahead', {}, clock('+1h')],
      ['both wrong', clock('-1h'), clock('+1h')],
    ];
    await Promise.all(
      clocks.map(async ([name, ofDrain, ofProxy]) =>
        suite.test(name, async (t) => {
          const road = new Road(t);
          handIn(road.spool, [{}, {}, {}]);
          const proxy = await road.proxy([], ofProxy);
          const { code, stderr } = await road.drain(['--once'], ofDrain).ended;
          assert.equal(code, 0, stderr);
          assert.doesNotMatch(stderr, /attention|is down|deferred/);
          for (const { state, attempts } of lookInto(road.spool).messages) {
            assert.deepEqual([state, attempts], ['sent', 1]);
          }
          assert.equal(road.deliveries().length, 3);
          // The first post learns the proxy's time for all that follow.
          assert.equal(proxy.stderr.match(/refused with 401/g)?.length, 1);
          await proxy.stop();
        }),
      ),
    );
  },
);

test('a proxy that finds the clock wrong whatever it is told: the queue waits, the operator is told (law 5)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) =>
    post.signed(401, Buffer.from('off')),
  );
  const { code, stderr } = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(code, 69);
  assert.match(stderr, /attention: .*clock.*To do: set the clocks/);
  assert.deepEqual(
    lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
    [['queued', 0]],
  );
  assert.equal(proxy.posts.length, 1, 'the time that it tells was used');
});

test(
  'fresh mail is sent at once after the clock was stepped back',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const file = join(road.folder, 'clock');
    setClock(file, 0);
    handIn(road.spool, [{}]);
    const env = { GMAIL_PROXY_URL: proxy.url, ...clock({ file }) };
    const drain = road.drain([], env);
    await drain.says(/> sent \(/);

    // Handed in just before the step, it is due in ten minutes for a drain that knows only the new time.
    setClock(file, -10 * 60_000);
    handIn(road.spool, [{}]);
    await drain.says(/attempt 1: .*> sent \(/, 2);
    await drain.stop();

    // The same when drain starts after the step, or after one of hours.
    handIn(road.spool, [{}]);
    assert.equal((await road.drain(['--once'], env).ended).code, 0);
    assert.equal(proxy.posts.length, 3);
    handIn(road.spool, [{}]);
    setClock(file, -5 * 3_600_000);
    assert.equal((await road.drain(['--once'], env).ended).code, 0);
    assert.equal(proxy.posts.length, 4);
  },
);

test(
  'a deferred message whose due time a clock step put far ahead is due at once',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, (post) =>
      post.answer(() => ({ status: '4.2.2', reason: 'full' })),
    );
    const env = { GMAIL_PROXY_URL: proxy.url };
    await road.drain(['--once'], env).ended;
    proxy.script = (post) => post.accept();
    assert.equal((await road.drain(['--once'], { ...env, ...clock('-2h') }).ended).code, 0);
    assert.equal(lookInto(road.spool).counters.sent, 1);
  },
);

test(
  'law 5: a clock that is stepped by hours, there and back, bounces nothing and keeps nothing waiting',
  needs('faketime'),
  async (t) => {
    const { below } = random(t);
    const road = new Road(t);
    const file = join(road.folder, 'clock');
    setClock(file, 0);
    const taken = new Set<string>();
    const proxy = await ScriptedProxy.start(t, road.key, (post) => {
      if (below(3) > 0) return post.answer(() => ({ status: '4.2.2', reason: 'full' }));
      taken.add(post.id);
      post.accept();
    });
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...clock({ file }) });
    await drain.says(/started/);
    let queued = 0;
    for (let step = 1; step <= 30; step += 1) {
      // More than the longest backoff, so that all that was put off is due, by either rule.
      const hours = 1 + below(12);
      setClock(file, (below(2) > 0 ? hours : -hours) * 3_600_000);
      const [id] = handIn(road.spool, [{}]);
      queued += 1;
      await proxy.received(1, (post) => post.id === id);
    }
    proxy.script = (post) => {
      taken.add(post.id);
      post.accept();
    };
    // What is put off after the last step would be due by the new clock, in up to half an hour.
    await until(
      () => lookInto(road.spool).counters.sending === 0,
      () => drain.stderr,
    );
    setClock(file, 24 * 3_600_000);
    handIn(road.spool, [{}]);
    await drain.says(/> sent \(/, queued + 1);
    assert.equal(taken.size, queued + 1);
    assert.doesNotMatch(drain.stderr, /expired|failed \(|is down/);
    assert.equal(lookInto(road.spool).counters.sent, queued + 1);
  },
);

test(
  'law 5: a machine that is suspended for days in the middle of its posts bounces nothing',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    const file = join(road.folder, 'clock');
    setClock(file, 0);
    const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
    const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url, ...clock({ file }) });
    handIn(road.spool, [{}, {}, {}]);
    await drain.says(/> sent \(/, 3);
    proxy.script = () => {};
    const ids = handIn(
      road.spool,
      Array.from({ length: 8 }, () => ({})),
    );
    const inFlight = await proxy.received(4, ({ id }) => ids.includes(id));

    // Time of day goes on while the machine sleeps, timers do not, and its connections die.
    drain.child.kill('SIGSTOP');
    setClock(file, 4 * 86_400_000);
    for (const { request } of inFlight) request.socket.resetAndDestroy();
    proxy.script = (post) => post.accept();
    drain.child.kill('SIGCONT');

    await drain.says(/> sent \(/, 11);
    assert.doesNotMatch(drain.stderr, /expired|failed \(/);
    assert.equal(lookInto(road.spool).counters.sent, 11);
  },
);
