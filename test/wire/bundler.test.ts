import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { thisMachine } from '../../src/host/machine.ts';
import { limits } from '../../src/limits.ts';
import { attempt, type PostRequest } from '../../src/wire/attempt.ts';
import { encodeAnswers, encodePart } from '../../src/wire/bundle.ts';
import { Bundler, type Bundled } from '../../src/wire/bundler.ts';
import { Connection } from '../../src/wire/connection.ts';
import { ScriptedProxy, type ReceivedBundle } from '../support/scripted-proxy.ts';
import { until } from '../support/until.ts';

const key = Buffer.from('a secret key');
const never = new AbortController().signal;
const KiB = 1024;

function postOf(id: string, more: Partial<PostRequest> = {}): PostRequest {
  const envelope = { sender: '', recipients: [`${id}@example.org`] };
  const size = more.size ?? 2;
  return { id, envelope, bytes: [Buffer.alloc(size, 'x')], size, ...more };
}

const few = ['one', 'two', 'three'].map((id) => postOf(id));

/** A scripted proxy that has told that it takes bundles, and a bundler whose clock can be moved. */
async function bundling(t: TestContext, bundle: ((bundle: ReceivedBundle) => void) | undefined) {
  const proxy = await ScriptedProxy.start(t, key.toString(), (post) => post.accept());
  proxy.bundle = bundle;
  let ahead = 0;
  const machine = { ...thisMachine, now: () => performance.now() + ahead };
  const connection = new Connection({ url: new URL(proxy.url), key }, machine);
  t.after(() => connection.close());
  await attempt(connection, postOf('first'), never);
  const bundler = new Bundler(connection);
  const post = async (posts: readonly PostRequest[], stop = never) =>
    Promise.all(posts.map(async (each) => bundler.post(each, stop)));
  const move = (ms: number) => (ahead += ms);
  return { proxy, connection, post, move };
}

/** What became of each: sent, or to be posted alone, and then whether it may be sent already. */
function ends(bundled: readonly Bundled[]): string[] {
  return bundled.map(({ result, maybeSent }) =>
    result ? result.kind : maybeSent ? 'maybe sent' : 'alone',
  );
}

test('what is posted in one moment goes in one request, signed once, and each has its own answer', async (t) => {
  const { proxy, post } = await bundling(t, (bundle) => {
    bundle.accept(bundle.posts);
    bundle.response.end();
  });
  const answers = await post(few);
  assert.deepEqual(
    answers.map(({ result }) => result?.kind === 'verdicts' && result.verdicts),
    few.map(({ envelope }) => [
      { recipient: envelope.recipients[0], status: '2.0.0', reason: 'sent' },
    ]),
  );
  assert.deepEqual(
    proxy.bundles.map(({ posts }) => posts.map(({ id }) => id)),
    [['one', 'two', 'three']],
  );
  assert.deepEqual(
    proxy.bundles[0]?.posts[0]?.body.toString(),
    '{"sender":"","recipients":["one@example.org"]}\nxx',
  );
});

test('one alone, a large one, a second try, a question, a probe and an unreadable message are in no bundle', async (t) => {
  const { proxy, post } = await bundling(t, (bundle) => {
    bundle.accept(bundle.posts);
    bundle.response.end();
  });
  const unreadable: Iterable<Buffer> = {
    [Symbol.iterator]: () => {
      throw new Error('the spool has lost it');
    },
  };
  const alone = [
    postOf('large', { size: limits.smallBodyBytes + 1 }),
    postOf('again', { fresh: true }),
    postOf('question', { ask: true }),
    postOf('probe', { envelope: { sender: '', recipients: [] } }),
    postOf('unreadable', { bytes: unreadable }),
  ];
  assert.deepEqual(ends(await post([...alone, ...few.slice(0, 1)])), Array(6).fill('alone'));
  assert.deepEqual(ends(await post([...alone, ...few])).slice(5), Array(3).fill('verdicts'));
  assert.equal(proxy.bundles.length, 1);
});

test('a bundle has at most 64 messages and 1 MiB', async (t) => {
  const { proxy, post } = await bundling(t, (bundle) => {
    bundle.accept(bundle.posts);
    bundle.response.end();
  });
  // They arrive over connections of their own, in any order.
  const sizes = () => {
    const all = proxy.bundles.splice(0).map(({ posts }) => posts.length);
    return all.toSorted((one, two) => two - one);
  };
  await post(Array.from({ length: 130 }, (_, n) => postOf(`m${n}`)));
  assert.deepEqual(sizes(), [64, 64, 2]);
  await post(Array.from({ length: 20 }, (_, n) => postOf(`l${n}`, { size: 64 * KiB })));
  assert.deepEqual(sizes(), [15, 5]);
});

test('an older proxy, which does not tell that it takes bundles, is never sent one', async (t) => {
  const { proxy, connection, post } = await bundling(t, undefined);
  assert.deepEqual(ends(await post(few)), Array(3).fill('alone'));
  assert.equal(proxy.posts.length, 1);
  // It was replaced by one that takes them, and then by the older one again.
  proxy.bundle = (bundle) => bundle.response.writeHead(400).end();
  await attempt(connection, postOf('second'), never);
  assert.equal(connection.takesBundles, true);
  proxy.bundle = undefined;
  await attempt(connection, postOf('third'), never);
  assert.equal(connection.takesBundles, false);
});

test('an answer counts when its part is complete: nobody waits for the slow ones', async (t) => {
  const events = new EventEmitter();
  const arrived = once(events, 'bundle') as Promise<[ReceivedBundle]>;
  const { post } = await bundling(t, (bundle) => events.emit('bundle', bundle));
  const answers = few.map(async (each) => post([each]));
  const [bundle] = await arrived;
  for (const place of [1, 2, 0]) {
    bundle.accept(bundle.posts.slice(place, place + 1));
    assert.deepEqual(ends((await answers[place]) ?? []), ['verdicts']);
  }
  bundle.response.end();
});

for (const [name, say] of [
  ['is signed with another key', (bundle) => bundle.accept(bundle.posts, { key: 'another' })],
  ['is signed for another bundle', (bundle) => bundle.accept(bundle.posts, { id: 'another' })],
  ['is malformed', (bundle) => void bundle.response.write('<html>\n')],
  ['has something malformed in it', (bundle) => bundle.part(Buffer.from('one 200\n'))],
  ['is about other messages', (bundle) => bundle.accept([{ id: 'x', body: bodyIn(bundle) }])],
  [
    'is our own request',
    (bundle) => {
      const { signature, posts } = bundle;
      bundle.response.write(
        encodePart({ timestamp: '1', signature, body: posts[0]?.body ?? Buffer.alloc(0) }),
      );
    },
  ],
  ['is nothing', () => {}],
] as const satisfies [string, (bundle: ReceivedBundle) => void][]) {
  test(`an answer that ${name} says nothing: each is posted alone, and may be sent already (law 5, law 6)`, async (t) => {
    const { post } = await bundling(t, (bundle) => {
      say(bundle);
      bundle.response.end();
    });
    assert.deepEqual(ends(await post(few)), Array(3).fill('maybe sent'));
  });
}

/** The body of a post that is in the bundle. */
function bodyIn({ posts }: ReceivedBundle): Buffer {
  return posts[0]?.body ?? Buffer.alloc(0);
}

test('what breaks off keeps the answers that came before', async (t) => {
  const { post } = await bundling(t, (bundle) => {
    bundle.accept(bundle.posts.slice(0, 1));
    bundle.response.write('1 v1,', () => bundle.response.destroy());
  });
  assert.deepEqual(ends(await post(few)), ['verdicts', 'maybe sent', 'maybe sent']);
});

for (const [status, end] of [
  [400, 'alone'],
  [403, 'alone'],
  [413, 'alone'],
  [502, 'maybe sent'],
] as const) {
  test(`a web server that answers ${status} to a bundle: each is posted alone (law 5)`, async (t) => {
    const { post } = await bundling(t, ({ response }) => response.writeHead(status).end('no'));
    assert.deepEqual(ends(await post(few)), Array(3).fill(end));
  });
}

test('after a bundle that failed there is none for a second, then two, and at most ten minutes', async (t) => {
  const { proxy, post, move } = await bundling(t, ({ response }) => response.writeHead(400).end());
  await post(few);
  const seconds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600];
  for (const [nth, each] of seconds.entries()) {
    move(each * 1000 - 500);
    await post(few);
    assert.equal(proxy.bundles.length, nth + 1);
    move(500);
    await post(few);
    assert.equal(proxy.bundles.length, nth + 2);
  }
  move(600_000);
  proxy.bundle = (bundle) => {
    bundle.accept(bundle.posts);
    bundle.response.end();
  };
  assert.deepEqual(ends(await post(few)), Array(3).fill('verdicts'));
  assert.deepEqual(ends(await post(few)), Array(3).fill('verdicts'), 'that is forgotten');
});

test('bundles that fail together, as when the proxy dies, are one failure in a row', async (t) => {
  const { proxy, post, move } = await bundling(t, ({ response }) => response.writeHead(400).end());
  const many = Array.from({ length: 3 * limits.bundlePosts }, (_, at) => postOf(`many-${at}`));
  await post(many);
  assert.equal(proxy.bundles.length, 3);
  move(1000);
  await post(few);
  assert.equal(proxy.bundles.length, 4);
});

test('a proxy that answers one post of a bundle that it takes no mail is left, as after a post alone', async (t) => {
  const { proxy, connection, post } = await bundling(t, (bundle) => {
    const [first, ...others] = bundle.posts;
    const text = Buffer.from('the relay is down');
    bundle.part(encodeAnswers([{ id: first?.id ?? '', status: 503, retryAfter: 0, body: text }]));
    bundle.accept(others);
    bundle.response.end();
  });
  const left = t.mock.method(connection.pool, 'leave');
  assert.deepEqual(ends(await post(few)), ['http', 'verdicts', 'verdicts']);
  await until(
    () => left.mock.callCount() === 1,
    () => 'the address was not left',
  );
  proxy.bundle = (bundle) => {
    bundle.accept(bundle.posts);
    bundle.response.end();
  };
  assert.deepEqual(ends(await post(few)), Array(3).fill('verdicts'));
  assert.equal(left.mock.callCount(), 1);
});

test('who stops waiting gives up the bundle', async (t) => {
  const stop = new AbortController();
  const { post } = await bundling(t, () => stop.abort());
  assert.deepEqual(ends(await post(few, stop.signal)), Array(3).fill('maybe sent'));
});
