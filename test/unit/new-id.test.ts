import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { newId } from '../../src/host/new-id.ts';

const idAt = (wallNow: number) => newId({ wallNow: () => wallNow, randomBytes });

test('an id is a UUID version 7 without dashes, and begins with the wall clock', () => {
  // RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
  const id = idAt(0x017f22e279b0);
  assert.match(id, /^017f22e279b07[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
});

test('ids are in the order of the milliseconds in which they were made, and differ within one', () => {
  const ids = Array.from({ length: 1000 }, (_, index) => idAt(1_700_000_000_000 + index));
  assert.deepEqual(ids.toSorted(), ids);
  assert.equal(new Set(Array.from({ length: 1000 }, () => idAt(0))).size, 1000);
});

test('a clock that is far off still makes ids', () => {
  for (const now of [-1, 0, 2 ** 48, 2 ** 52]) assert.match(idAt(now), /^[0-9a-f]{32}$/);
});
