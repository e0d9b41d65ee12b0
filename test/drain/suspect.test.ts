import assert from 'node:assert/strict';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy } from '../support/scripted-proxy.ts';

test('after an outage that one message may have caused, the others go first (law 5)', async (t) => {
  const road = new Road(t);
  const [bad] = handIn(road.spool, [{ bytes: 'bad\n' }]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => {
    if (post.id !== bad) return post.accept();
    post.response.writeHead(503).end();
  });
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/not sent, stays in the queue/);
  const [good] = handIn(road.spool, [{ bytes: 'good\n' }]);

  const posts = await proxy.received(3, ({ recipients }) => recipients.length > 0);
  assert.deepEqual(
    posts.slice(0, 2).map(({ id }) => id),
    [bad, good],
  );
  await drain.stop();
});
