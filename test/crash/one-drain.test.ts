import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

const message = {
  sender: 'sender@example.com',
  recipients: ['recipient@example.org'],
  bytes: Buffer.from('Subject: x\n\nx\n'),
};

test(
  'a second drain on a spool exits 75 and leaves alone what the first one is sending',
  { timeout: 120_000 },
  async (t) => {
    const road = new Road(t);
    const ids = handIn(road.spool, [message]);
    const proxy = await ScriptedProxy.start(t, road.key, () => {});
    const env = { GMAIL_PROXY_URL: proxy.url };
    const first = road.drain([], env);
    const [post] = await proxy.received(1);

    for (const args of [[], ['--once']]) {
      const second = await road.drain(args, env).ended;
      assert.equal(second.code, 75, second.stderr);
      assert.match(second.stderr, /another drain is at work/);
      assert.deepEqual(
        readSpool(road.spool).map(({ state }) => state),
        ['sending'],
      );
    }

    post.accept();
    await first.says(/attempt 1: .* sent \(2/);
    assert.equal((await first.stop()).code, 0);
    assert.deepEqual(
      proxy.posts.map(({ id }) => id),
      ids,
      'the message was posted once, by the first',
    );
    assert.equal((await road.stats())['sent'], 1);
  },
);

// graphile worker #204: what a killed worker had taken was locked for four hours.
test(
  'law 7: the lock of a drain dies with it: after SIGKILL a new one starts at once',
  { timeout: 120_000 },
  async (t) => {
    const road = new Road(t);
    const ids = handIn(road.spool, [message]);
    const proxy = await ScriptedProxy.start(t, road.key, () => {});
    const env = { GMAIL_PROXY_URL: proxy.url };

    // Killed in the middle of a post, and started again, more than once.
    for (let life = 1; life <= 3; life += 1) {
      const drain = road.drain([], env);
      await proxy.received(life);
      assert.equal((await road.drain([], env).ended).code, 75);
      await drain.stop('SIGKILL');
    }

    proxy.script = (post) => post.accept();
    const last = await road.drain(['--once'], env).ended;
    assert.equal(last.code, 0, last.stderr);
    assert.deepEqual(new Set(proxy.posts.map(({ id }) => id)), new Set(ids));
    assert.equal(proxy.posts.length, 4);
    assert.equal((await road.stats())['sent'], 1);
  },
);
