import assert from 'node:assert/strict';
import test from 'node:test';
import { claim } from '../../src/spool/claim.ts';
import { deleteBody } from '../../src/spool/body.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { findMessages } from '../../src/spool/list.ts';
import { operate, type Verb } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;
const DAY = 86_400_000;

/** A message that was posted once, and what was said of its recipients. */
function posted(spool: Spool, ...said: ('sent' | 'pending' | 'failed')[]): string {
  const recipients = said.map((_, position) => `r${position}@x`);
  const { id } = enqueue(spool, handOver({ recipients }), NOW);
  const [claimed] = spool.transaction(() =>
    claim(spool, { messages: 1, bytes: 1e6, passingBytes: 0 }, NOW),
  );
  const statuses = { sent: '2.0.0', pending: '4.2.2', failed: '5.1.1' };
  const verdicts = said.map((state, position) => ({
    position,
    state,
    status: statuses[state],
    reason: 'so',
  }));
  const rest = {
    charged: true,
    warnings: 0,
    dueAt: NOW + 1,
    lastStatus: '4.2.2',
    lastReason: 'so',
  };
  spool.transaction(() => record(spool, { seq: claimed?.seq ?? 0, verdicts, ...rest }, NOW));
  return id;
}

function states(spool: Spool, id: string): string[] {
  const message = findMessages(spool, id, NOW)[0];
  return [message?.state ?? '', ...(message?.recipients.map(({ state }) => state) ?? [])];
}

for (const verb of ['retry', 'release'] as const) {
  test(`${verb} asks for --force when the first post is more than 25 days ago (law 6)`, (t) => {
    const spool = freshSpool(t);
    const id = posted(spool, 'pending');
    const prepare = () => verb === 'release' && operate(spool, 'hold', id, NOW);
    prepare();
    assert.equal(operate(spool, verb, id, NOW + 25 * DAY), 'done');
    prepare();
    assert.equal(operate(spool, verb, id, NOW + 25 * DAY + 1), 'old');
    assert.equal(operate(spool, verb, id, NOW + 99 * DAY, true), 'done');
  });
}

test('what was never posted may be retried and released for ever: no proxy knows it', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  for (const verb of ['retry', 'hold', 'release'] satisfies Verb[]) {
    assert.equal(operate(spool, verb, id, NOW + 99 * DAY), 'done');
  }
});

test('a retry tries what failed, and not again what was sent (law 6)', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'sent', 'failed', 'failed');
  assert.deepEqual(states(spool, id), ['failed', 'sent', 'failed', 'failed']);
  assert.equal(operate(spool, 'retry', id, NOW), 'done');
  assert.deepEqual(states(spool, id), ['queued', 'sent', 'pending', 'pending']);
});

test('a retry needs the bytes', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'failed');
  deleteBody(spool, 1);
  assert.equal(operate(spool, 'retry', id, NOW), 'unfit');
  assert.deepEqual(states(spool, id), ['failed', 'failed']);
});

test('a delete takes what waits and what failed, and leaves what was sent as it is', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'sent', 'pending', 'failed');
  assert.equal(operate(spool, 'delete', id, NOW), 'done');
  assert.deepEqual(states(spool, id), ['deleted', 'sent', 'deleted', 'deleted']);
  assert.equal(operate(spool, 'delete', id, NOW), 'unfit', 'once is enough');
});

test('what is being sent is busy for every verb, and an unknown id is missing', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  spool.transaction(() => claim(spool, { messages: 1, bytes: 1e6, passingBytes: 0 }, NOW));
  for (const verb of ['retry', 'hold', 'release', 'delete'] satisfies Verb[]) {
    assert.equal(operate(spool, verb, id, NOW, true), 'busy');
    assert.equal(operate(spool, verb, 'f'.repeat(32), NOW), 'missing');
  }
  assert.deepEqual(states(spool, id), ['sending', 'pending']);
});
