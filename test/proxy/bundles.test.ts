import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { request } from 'node:http';
import test, { type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import {
  bundlesHeader,
  bundleType,
  decodeAnswers,
  encodeBundle,
  PartReader,
  type BundledAnswer,
  type BundledPost,
} from '../../src/wire/bundle.ts';
import { encodeFrame } from '../../src/wire/frame.ts';
import { verify } from '../../src/wire/sign.ts';
import { everyone } from '../support/controlled-deliverer.ts';
import { LocalProxy } from '../support/local-proxy.ts';
import { encodePost, signedPost } from '../support/signed-post.ts';

const ids = ['one', 'two', 'three'];

function postOf(id: string, bytes = 'x\n', recipients = [`${id}@example.org`]): BundledPost {
  const frame = encodeFrame({ sender: '', recipients });
  return { id, body: Buffer.concat([frame, Buffer.from(bytes)]) };
}

const posts = ids.map((id) => postOf(id));

function encoded({ key }: LocalProxy, body: Buffer, id = 'a-bundle') {
  return encodePost({ key, id, body, headers: { 'content-type': bundleType } });
}

/** Posts a bundle; yields the answers of each part as it arrives, and requires that it is signed. */
async function* partsOf(
  proxy: LocalProxy,
  some: readonly BundledPost[],
): AsyncGenerator<BundledAnswer[]> {
  const { headers, body } = encoded(proxy, encodeBundle(some));
  const sent = request(`http://${proxy.address}/`, { method: 'POST', headers }).end(body);
  const response = await new Promise<AsyncIterable<Buffer>>((resolve, reject) => {
    sent.on('response', resolve).on('error', reject);
  });
  const reader = new PartReader();
  for await (const piece of response) {
    for (const part of reader.add(piece) ?? assert.fail('malformed')) {
      const signed = { id: 'a-bundle', timestamp: part.timestamp, body: [part.body] };
      assert.ok(verify([Buffer.from(proxy.key)], part.signature, signed));
      yield decodeAnswers(part.body) ?? assert.fail('malformed');
    }
  }
}

/** Each answer in a word: its status, and the verdicts of a 200. */
async function answersOf(
  proxy: LocalProxy,
  some: readonly BundledPost[],
): Promise<Record<string, string>> {
  const answers: Record<string, string> = {};
  for await (const part of partsOf(proxy, some)) {
    for (const { id, status, body } of part) {
      const said = body.toString();
      const verdicts = status === 200 ? JSON.parse(said).verdicts : [];
      const words = verdicts.map((verdict: { status: string; sent_before?: boolean }) =>
        [verdict.status, ...(verdict.sent_before ? ['before'] : [])].join(' '),
      );
      answers[id] = [status, ...(status === 200 ? words : [said])].join(' ');
    }
  }
  return answers;
}

/** Counts the transactions of the ledger while something is done. */
async function transactions(
  t: TestContext,
  { controlled }: LocalProxy,
  action: () => Promise<unknown>,
): Promise<number> {
  const counted = t.mock.method(controlled.ledger.files, 'transaction');
  await action();
  counted.mock.restore();
  return counted.mock.callCount();
}

test('a bundle is begun in one transaction and settled in one, and answered in one part', async (t) => {
  const proxy = await LocalProxy.start(t);
  const many = Array.from({ length: limits.bundlePosts }, (_, n) => postOf(`m${n}`));
  const parts: BundledAnswer[][] = [];
  const count = await transactions(t, proxy, async () => {
    for await (const part of partsOf(proxy, many)) parts.push(part);
  });
  assert.equal(count, 2);
  assert.deepEqual(
    parts.map((part) => part.map(({ id, status }) => `${id} ${status}`)),
    [many.map(({ id }) => `${id} 200`)],
  );
});

test('a repeated bundle is not sent again, and gets the same verdicts (law 6)', async (t) => {
  const proxy = await LocalProxy.start(t);
  const sent = Object.fromEntries(ids.map((id) => [id, '200 2.0.0']));
  assert.deepEqual(await answersOf(proxy, posts), sent);
  const before = Object.fromEntries(ids.map((id) => [id, '200 2.0.0 before']));
  assert.deepEqual(await answersOf(proxy, posts), before);
  assert.equal(proxy.controlled.calls.length, 3);
  const alone = await signedPost(proxy.address, {
    key: proxy.key,
    id: 'one',
    body: postOf('one').body,
  });
  assert.match(alone.body.toString(), /"sent_before":true/);
});

test('a message that takes long holds up no other, and is waited for by its repeat (law 6, law 13)', async (t) => {
  const proxy = await LocalProxy.start(t);
  const events = new EventEmitter();
  const slow = once(events, 'finish');
  proxy.controlled.answer = async (delivery) => {
    if (delivery.id === 'one') await slow;
    return everyone(delivery, '2.0.0');
  };
  const parts = partsOf(proxy, posts);
  const first = await parts.next();
  assert.deepEqual(
    first.value?.map(({ id }: BundledAnswer) => id),
    ['two', 'three'],
  );
  const repeat = answersOf(proxy, posts.slice(0, 1));
  events.emit('finish');
  const second = await parts.next();
  assert.deepEqual(
    second.value?.map(({ id }: BundledAnswer) => id),
    ['one'],
  );
  assert.match((await repeat)['one'] ?? '', /^200 2\.0\.0/);
  assert.equal(proxy.controlled.calls.length, 3, 'each was sent once');
});

test('each post of a bundle is answered as alone: conflict, malformed, refused, sent', async (t) => {
  const proxy = await LocalProxy.start(t);
  await answersOf(proxy, [postOf('one', 'other bytes\n')]);
  proxy.controlled.answer = async (delivery) =>
    everyone(delivery, delivery.id === 'three' ? '5.1.1' : '2.0.0');
  const answers = await answersOf(proxy, [
    ...posts,
    { id: 'four', body: Buffer.from('{"sender":""}\nx\n') },
    postOf('five', 'x\n', []),
  ]);
  assert.deepEqual(answers, {
    one: '409 one was posted before with other bytes',
    two: '200 2.0.0',
    three: '200 5.1.1',
    four: '400 "recipients" is not a list of strings',
    five: '200',
  });
  assert.match(proxy.journal.join('\n'), /refused with 409: one was posted/);
});

test('a post that meets a defect has no answer, and the others have theirs', async (t) => {
  const proxy = await LocalProxy.start(t);
  const { deliverer } = proxy.controlled;
  const send = deliverer.send.bind(deliverer);
  t.mock.method(deliverer, 'send', async (...args: Parameters<typeof send>) => {
    if (args[0].id === 'two') throw new Error('a defect');
    return send(...args);
  });
  assert.deepEqual(await answersOf(proxy, posts), { one: '200 2.0.0', three: '200 2.0.0' });
  assert.match(proxy.journal.join('\n'), /a defect of the proxy: Error: a defect/);
});

test('a bundle that is not signed, malformed or too large is refused as a whole, and nothing is begun', async (t) => {
  const proxy = await LocalProxy.start(t);
  const refusal = async (body: Buffer, headers = {}) => {
    const post = encoded(proxy, body);
    const given = { ...post.headers, ...headers };
    const { status } = await signedPost(proxy.address, { key: proxy.key, body, headers: given });
    return status;
  };
  const whole = encodeBundle(posts);
  assert.equal(await refusal(whole, { 'webhook-signature': `v1,${'A'.repeat(43)}=` }), 401);
  assert.equal(await refusal(whole.subarray(0, -1)), 400);
  assert.equal(await refusal(encodeBundle([...posts, ...posts])), 400);
  const large = postOf('large', 'x'.repeat(limits.bundleBytes));
  assert.equal(await refusal(encodeBundle([large])), 413);
  assert.deepEqual(proxy.controlled.calls, []);
});

test('answers to single posts tell that the proxy takes bundles', async (t) => {
  const proxy = await LocalProxy.start(t);
  const { headers } = await signedPost(proxy.address, { key: proxy.key });
  assert.equal(headers[bundlesHeader], 'yes');
});
