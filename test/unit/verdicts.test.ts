import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { decodeExtras, decodeVerdicts } from '../../src/wire/verdicts.ts';

const id = '0'.repeat(32);
const recipient = 'a@example.org';

/** What a verdict with these members is read as. */
function read(members: Record<string, unknown>): unknown {
  const answer = { id, verdicts: [{ recipient, reason: 'so', ...members }] };
  const decoded = decodeVerdicts(Buffer.from(JSON.stringify(answer)), id, [recipient]);
  return Array.isArray(decoded) ? decoded[0] : decoded;
}

test('only a recipient that was sent was sent before, and only a deferred one is in progress', () => {
  const plain = { recipient, reason: 'so' };
  const both = { sent_before: true, in_progress: true };
  assert.deepEqual(read({ status: '2.0.0', ...both }), {
    ...plain,
    status: '2.0.0',
    sentBefore: true,
  });
  assert.deepEqual(read({ status: '4.4.0', ...both }), {
    ...plain,
    status: '4.4.0',
    inProgress: true,
  });
  assert.deepEqual(read({ status: '5.1.1', ...both }), { ...plain, status: '5.1.1' });
  for (const status of ['2.0.0', '4.4.0']) {
    assert.deepEqual(read({ status, sent_before: 1, in_progress: 'yes' }), { ...plain, status });
  }
});

const note = (value: unknown) =>
  decodeExtras(Buffer.from(JSON.stringify({ id, note: value }))).note;

test('the note of a probe is a string, cut to the length of a reason, or missing', () => {
  assert.equal(note('the ledger is new'), 'the ledger is new');
  assert.equal(note('x'.repeat(2 * limits.reasonChars))?.length, limits.reasonChars);
  assert.equal(note(7), undefined);
  assert.equal(note(undefined), undefined);
});
