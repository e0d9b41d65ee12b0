import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import { deleteBodies, hasBody, readBody, readSmallBodies } from '../../src/spool/body.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const PART = limits.bodyPartBytes;

/** A spool with one message, number 1, of so many bytes. */
function spoolWith(t: TestContext, size: number): { spool: Spool; message: Buffer } {
  const spool = freshSpool(t);
  const message = Buffer.alloc(size);
  for (let at = 0; at < size; at += 1) message[at] = (at * 31 + (at >> 8)) % 256;
  enqueue(spool, handOver({ message }), 1000);
  return { spool, message };
}

for (const size of [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 7]) {
  test(`${size} bytes are stored in parts of 1 MiB and read as they were (law 3)`, (t) => {
    const { spool, message } = spoolWith(t, size);
    const body = readBody(spool, 1, size);
    const count = Math.max(1, Math.ceil(size / PART));
    assert.equal(spool.sql('SELECT part FROM body').all().length, count);
    for (const time of ['once', 'and again']) {
      const parts: Buffer[] = [...body];
      assert.ok(Buffer.concat(parts).equals(message), time);
      assert.equal(parts.length, count);
      assert.ok(parts.every(({ length }) => length <= PART));
    }
  });
}

test('a body is read part by part, when it is wanted', (t) => {
  const { spool } = spoolWith(t, 2 * PART);
  const body = readBody(spool, 1, 2 * PART);
  spool.db.exec('DELETE FROM body WHERE part = 1');
  const parts = body[Symbol.iterator]();
  assert.equal(parts.next().value?.length, PART, 'the first part is still there');
  assert.throws(() => parts.next(), /lost part 1/);
});

test('a part that is missing is an error, never a shorter message (law 3)', (t) => {
  for (const part of [0, 1, 2]) {
    const { spool } = spoolWith(t, 2 * PART + 1);
    const body = readBody(spool, 1, 2 * PART + 1);
    spool.sql('DELETE FROM body WHERE part = ?').run(part);
    assert.throws(() => [...body], new RegExp(`lost part ${part} `));
  }
});

test('a deleted body is gone with all its parts', (t) => {
  const { spool } = spoolWith(t, 2 * PART);
  assert.equal(hasBody(spool, 1), true);
  deleteBodies(spool, [1]);
  assert.equal(hasBody(spool, 1), false);
  assert.deepEqual(spool.sql('SELECT * FROM body').all(), []);
});

test('small bodies are read together, those alone that are as they were stored (law 3)', (t) => {
  const spool = freshSpool(t);
  const sizes = [0, 18, limits.smallBodyBytes, limits.smallBodyBytes + 1, 18, 18];
  for (const [nth, size] of sizes.entries()) {
    enqueue(spool, handOver({ eximId: `${nth}`, message: Buffer.alloc(size, nth) }), 1000);
  }
  const messages = sizes.map((size, nth) => ({ seq: nth + 1, size }));
  spool.db.exec(
    `UPDATE body SET bytes = zeroblob(18) WHERE message = 5; DELETE FROM body WHERE message = 6`,
  );
  const bodies = readSmallBodies(spool, messages);
  assert.deepEqual([...bodies.keys()], [1, 2, 3]);
  for (const [seq, bytes] of bodies) {
    assert.ok(bytes.equals(Buffer.concat([...readBody(spool, seq, bytes.length)])));
  }
  assert.throws(() => [...readBody(spool, 5, 18)], /other bytes/);

  spool.sql = () => {
    throw new Error('the disk failed');
  };
  assert.equal(readSmallBodies(spool, messages).size, 0, 'each is left to readBody then');
});

test('bytes of another length than the message has are damage, and are not posted', (t) => {
  const { spool } = spoolWith(t, 100);
  for (const size of [95, 105]) {
    spool.sql('UPDATE message SET size = ?').run(size);
    assert.equal(readSmallBodies(spool, [{ seq: 1, size }]).size, 0);
    assert.throws(() => [...readBody(spool, 1, size)], /other bytes|lost part/);
  }
});
