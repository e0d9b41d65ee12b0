import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { limits } from '../../src/limits.ts';
import {
  decodeAnswers,
  decodeBundle,
  encodeAnswers,
  encodeBundle,
  encodePart,
  PartReader,
  type AnswerPart,
} from '../../src/wire/bundle.ts';
import { FrameError } from '../../src/wire/frame.ts';
import { holds } from '../support/holds.ts';

const id = fc.stringMatching(/^[0-9A-Za-z_-]{1,64}$/);
const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const plain = { noNullPrototype: true };
const words = fc.record(
  {
    timestamp: fc.nat(2 ** 31).map(String),
    signature: fc.stringMatching(/^v1,[0-9A-Za-z+/]{43}=$/),
    body,
  },
  plain,
);

test('a bundle is read as it was written', (t) => {
  const posts = fc.uniqueArray(fc.record({ id, body }, plain), {
    selector: (post) => post.id,
    minLength: 1,
    maxLength: limits.bundlePosts,
  });
  holds(
    t,
    fc.property(posts, (some) => assert.deepEqual(decodeBundle(encodeBundle(some)), some)),
  );
});

test('answers are read as they were written', (t) => {
  const status = fc.integer({ min: 100, max: 599 });
  const answer = fc.record({ id, status, retryAfter: fc.nat(1e6), body }, plain);
  holds(
    t,
    fc.property(fc.array(answer), (some) =>
      assert.deepEqual(decodeAnswers(encodeAnswers(some)), some),
    ),
  );
});

test('parts are read as they were written, in pieces of any size, each as soon as it is complete', (t) => {
  const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 50 });
  holds(
    t,
    fc.property(fc.array(words, { maxLength: 5 }), cuts, (parts, sizes) => {
      const encoded = parts.map(encodePart);
      const bytes = Buffer.concat(encoded);
      const reader = new PartReader();
      const read: AnswerPart[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
        const end = at + (sizes[turn] ?? bytes.length);
        read.push(...(reader.add(bytes.subarray(at, end)) ?? assert.fail('malformed')));
        at = Math.min(end, bytes.length);
        const complete = encoded.filter(
          (_, part) => Buffer.concat(encoded.slice(0, part + 1)).length <= at,
        );
        assert.equal(read.length, complete.length);
      }
      assert.deepEqual(read, parts);
    }),
  );
});

test('whatever bytes arrive, they are read or called malformed, and a bundle throws only FrameError', (t) => {
  holds(
    t,
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^(\S{1,9} ){1,3}\d{1,9}\n/)), (text) => {
      const bytes = Buffer.from(text);
      new PartReader().add(bytes);
      decodeAnswers(bytes);
      try {
        decodeBundle(bytes);
      } catch (error) {
        assert.ok(error instanceof FrameError, String(error));
      }
    }),
  );
});

test('what is no bundle is refused in a sentence', () => {
  const post = { id: 'an-id', body: Buffer.from('x') };
  const many = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ ...post, id: `${n}` }));
  const whole = encodeBundle([post]);
  for (const [bytes, sentence] of [
    [Buffer.alloc(0), /1 to 64 messages/],
    [encodeBundle(many(65)), /1 to 64 messages/],
    [encodeBundle([post, post]), /twice/],
    [encodeBundle([{ ...post, id: 'a.b' }]), /lines with an id/],
    [whole.subarray(0, -1), /lines with an id/],
    [Buffer.concat([whole, Buffer.from('x')]), /lines with an id/],
    [Buffer.from(`${'x'.repeat(300)} 1\nx`), /lines with an id/],
    [Buffer.from('an-id -1\nx'), /lines with an id/],
  ] as const) {
    assert.throws(() => decodeBundle(bytes), { name: 'FrameError', message: sentence });
  }
  assert.equal(decodeBundle(encodeBundle(many(64))).length, 64);
});

test('a line of a part without an end is malformed, and is not kept', () => {
  assert.deepEqual(new PartReader().add(Buffer.from('1')), []);
  assert.equal(new PartReader().add(Buffer.alloc(200, '1')), undefined);
  for (const line of ['1 v1,x\n', '1 v1,x y\n', '1 v1,x 1 1\n', ' v1,x 1\n']) {
    assert.equal(new PartReader().add(Buffer.from(line)), undefined, line);
  }
});
