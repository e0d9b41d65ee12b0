import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { CollectedBytes } from '../../src/host/collected-bytes.ts';
import { holds } from '../support/holds.ts';

test('bytes in pieces of any size come out as they went in, and take twice their size at most', (t) => {
  holds(
    t,
    fc.property(fc.array(fc.uint8Array({ maxLength: 20_000 }), { maxLength: 30 }), (pieces) => {
      const collected = new CollectedBytes();
      for (const piece of pieces) collected.add(piece);
      const all = Buffer.concat(pieces);
      assert.equal(collected.size, all.length);
      assert.ok(collected.whole().equals(all));
      assert.ok(collected.held <= 2 * all.length + 4096);
    }),
  );
});

test('a million pieces of one octet are a few blocks', () => {
  const collected = new CollectedBytes();
  for (let octet = 0; octet < 1_000_000; octet += 1) collected.add(Buffer.of(octet & 255));
  assert.ok(collected.held <= 2_000_000);
  assert.equal(collected.whole()[999_999], 999_999 & 255);
});

test('bytes whose number was announced are in one block, and nothing is put together in the end', () => {
  const announced = 20 * 1024 * 1024 + 5;
  const all = Buffer.alloc(announced);
  for (let at = 0; at < announced; at += 1000) all[at] = at % 251;
  for (const size of [announced, announced - 1, announced + 3_000_000]) {
    const sent = Buffer.concat([all, all]).subarray(0, size);
    const collected = new CollectedBytes(announced);
    for (let at = 0; at < size; at += 60_000) {
      collected.add(sent.subarray(at, at + 60_000));
      assert.ok(collected.held <= 2 * collected.size + 4096, `${collected.held}`);
    }
    assert.equal(collected.pieces().length, size <= announced ? 1 : 4);
    const [block] = collected.pieces();
    const whole = collected.whole();
    assert.ok(whole.equals(sent));
    assert.equal(whole.buffer === block?.buffer, size <= announced);
  }
});

test('what is only announced takes no memory', () => {
  const collected = new CollectedBytes(100 * 1024 * 1024);
  for (let piece = 0; piece < 12; piece += 1) collected.add(Buffer.alloc(1024 * 1024));
  const allocated = collected.pieces().reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
  assert.ok(allocated <= 14 * 1024 * 1024, `${allocated}`);
});
