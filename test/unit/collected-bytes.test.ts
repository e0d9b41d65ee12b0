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
