import assert from 'node:assert/strict';
import test from 'node:test';
import { clock } from '../support/clock.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test('SIGTERM: the post in flight is waited for and recorded, new mail is left, exit 0 (law 7)', async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  handIn(road.spool, [{}]);
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const [post] = await proxy.received(1);

  drain.child.kill('SIGTERM');
  const [late] = handIn(road.spool, [{}]);
  // Before the answer there is nothing that drain could end for.
  assert.equal(drain.child.exitCode, null);
  post.accept();
  const { code, stderr } = await drain.ended;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /attempt 1: .*> sent \([^]*stopped; 1 message queued/);
  const { messages } = lookInto(road.spool);
  assert.deepEqual(
    messages.map(({ id, state, attempts }) => [id, state, attempts]),
    [
      [post?.id, 'sent', 1],
      [late, 'queued', 0],
    ],
  );
  assert.equal(proxy.posts.length, 1);
});

test('an idle drain ends at once', async (t) => {
  const road = new Road(t);
  const drain = road.drain();
  await drain.says(/started; 0 messages/);
  const before = performance.now();
  assert.equal((await drain.stop()).code, 0);
  assert.ok(performance.now() - before < 10_000);
});

test(
  'a stopping drain gives up a post that is never answered, and leaves it due (law 7)',
  needs('faketime'),
  async (t) => {
    const road = new Road(t);
    handIn(road.spool, [{}]);
    const proxy = await ScriptedProxy.start(t, road.key, () => {});
    const env = { GMAIL_PROXY_URL: proxy.url };
    const drain = road.drain([], { ...env, ...clock('+0 x10') });
    await proxy.received(1);
    const { code, stderr } = await drain.stop();
    assert.equal(code, 0, stderr);
    assert.match(stderr, /given up because this program stops/);
    assert.deepEqual(
      lookInto(road.spool).messages.map(({ state, attempts }) => [state, attempts]),
      [['queued', 0]],
    );

    proxy.script = (post) => post.accept();
    assert.equal((await road.drain(['--once'], env).ended).code, 0);
    assert.equal(lookInto(road.spool).counters.sent, 1);
  },
);

test('what was in flight when drain was killed is due again for the next one (law 7)', async (t) => {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const proxy = await ScriptedProxy.start(t, road.key, () => {});
  const env = { GMAIL_PROXY_URL: proxy.url };
  const drain = road.drain([], env);
  await proxy.received(1);
  await drain.stop('SIGKILL');
  assert.equal(lookInto(road.spool).counters.sending, 1);

  proxy.script = (post) => post.accept();
  const { code, stderr } = await road.drain(['--once'], env).ended;
  assert.equal(code, 0);
  assert.match(stderr, /started; 1 message queued; 1 being sent when drain last died/);
  assert.equal(proxy.posts[0]?.id, proxy.posts[1]?.id, 'the proxy can know it again');
  assert.equal(lookInto(road.spool).counters.sent, 1);
});

test('a second drain of a spool ends with 75, and one may follow when the first is gone', async (t) => {
  const road = new Road(t);
  const first = road.drain();
  await first.says(/started/);
  for (const args of [[], ['--once']]) {
    const second = await road.drain(args).ended;
    assert.equal(second.code, 75);
    assert.match(second.stderr, /another drain is at work/);
  }
  await first.stop('SIGKILL');
  assert.equal((await road.drain(['--once']).ended).code, 0);
});
