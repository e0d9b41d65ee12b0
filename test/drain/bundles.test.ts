import assert from 'node:assert/strict';
import test from 'node:test';
import { Courier } from '../../src/drain/courier.ts';
import { Endpoint } from '../../src/drain/endpoint.ts';
import { systemClock } from '../../src/host/clock.ts';
import type { PostResult } from '../../src/wire/attempt.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type ReceivedBundle } from '../support/scripted-proxy.ts';

const put = (count: number) => Array.from({ length: count }, () => ({}));

function acceptAll(bundle: ReceivedBundle): void {
  bundle.accept(bundle.posts);
  bundle.response.end();
}

test('when many messages are due, most go in bundles, each once', async (t) => {
  const road = new Road(t);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => post.accept());
  proxy.bundle = acceptAll;
  const ids = handIn(road.spool, put(300));
  const { code, stderr } = await road.drain(['--once'], { GMAIL_PROXY_URL: proxy.url }).ended;
  assert.equal(code, 0, stderr);
  assert.equal(lookInto(road.spool).counters.sent, 300);
  const bundled = proxy.bundles.flatMap(({ posts }) => posts.map(({ id }) => id));
  const alone = proxy.posts.map(({ id }) => id);
  assert.deepEqual([...bundled, ...alone].toSorted(), ids.toSorted());
  assert.ok(proxy.posts.length + proxy.bundles.length < 60, `${proxy.bundles.length} bundles`);
});

test('a message for which bundles break is posted alone, and alone waits; its next try is in no bundle (law 5)', async (t) => {
  const road = new Road(t);
  // The first post of a drain goes alone, and is none of these.
  const [, , , worst = '', ...others] = handIn(road.spool, put(44));
  const sent = others.length + 3;
  const proxy = await ScriptedProxy.start(t, road.key, (post) => {
    if (post.id === worst) post.request.socket.resetAndDestroy();
    else post.accept();
  });
  proxy.bundle = (bundle) => {
    if (bundle.posts.some(({ id }) => id === worst)) bundle.response.destroy();
    else acceptAll(bundle);
  };
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  await drain.says(/> sent \(2/, sent);
  await drain.says(/not sent|deferred/);
  assert.doesNotMatch(drain.stderr, /is down/);
  const broken = proxy.bundles.filter(({ posts }) => posts.some(({ id }) => id === worst));
  await road.queue('retry', worst);
  handIn(road.spool, put(40));
  await drain.says(/> sent \(2/, sent + 40);
  await drain.stop();
  const again = proxy.bundles.filter(({ posts }) => posts.some(({ id }) => id === worst));
  // A request over a used connection that breaks is made once more, over a new one.
  assert.deepEqual([broken.length, again.length], [2, 2]);
  const { counters, messages } = lookInto(road.spool);
  assert.deepEqual([counters.sent, counters.queued], [sent + 40, 1]);
  assert.deepEqual(
    messages.filter(({ id }) => id !== worst).map(({ attempts }) => attempts),
    Array(sent + 40).fill(1),
    'nobody else was charged',
  );
});

test('a bundle that may have been sent leaves its messages unanswered, whatever comes of the posts alone (law 6)', async () => {
  const refused: PostResult = {
    kind: 'network',
    stage: 'connecting',
    code: 'ECONNREFUSED',
    text: 'refused',
  };
  const never = new AbortController().signal;
  for (const maybeSent of [true, false]) {
    const posting = { postOnce: async () => refused, postBundled: async () => ({ maybeSent }) };
    const signals = { stop: never, giveUp: never };
    const courier = new Courier(posting, new Endpoint(), systemClock, signals);
    const message = {
      seq: 1,
      id: 'an-id',
      eximId: 'an-exim-id',
      sender: '',
      size: 2,
      queuedAt: 0,
      attempts: 0,
      deferrals: 0,
      renewedAt: 0,
      outageMs: 0,
      recipients: [{ position: 0, address: 'r@example.org' }],
    };
    const attempt = await courier.deliver(message, [Buffer.from('x\n')], undefined, () => {});
    assert.equal(attempt.trouble?.scope, 'endpoint');
    assert.equal(attempt.unanswered, maybeSent);
  }
});
