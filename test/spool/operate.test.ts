import assert from 'node:assert/strict';
import test from 'node:test';
import { claim } from '../../src/spool/claim.ts';
import { deleteBodies } from '../../src/spool/body.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { historyOf } from '../../src/spool/history.ts';
import { findMessages } from '../../src/spool/list.ts';
import { dueReports, reportedMail, markReported } from '../../src/spool/report.ts';
import { recordReturnRefused, operate, type Verb } from '../../src/spool/operate.ts';
import { record } from '../../src/spool/record.ts';
import type { MessageState, Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';

const NOW = 1_800_000_000_000;
const DAY = 86_400_000;

/** A message that was posted once, and what was said of its recipients. */
function posted(spool: Spool, ...said: ('sent' | 'pending' | 'failed')[]): string {
  const recipients = said.map((_, position) => `r${position}@x`);
  const { id } = enqueue(spool, handOver({ recipients }), NOW);
  const [claimed] = spool.transaction(() =>
    claim(spool, { messages: 1, bytes: 1e6, bypassBytes: 0 }, NOW),
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
  spool.transaction(() => record(spool, [{ seq: claimed?.seq ?? 0, verdicts, ...rest }], NOW));
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
    const prepare = () => verb === 'release' && operate(spool, id, { verb: 'hold', now: NOW });
    prepare();
    assert.equal(operate(spool, id, { verb, now: NOW + 25 * DAY }), 'done');
    prepare();
    assert.equal(operate(spool, id, { verb, now: NOW + 25 * DAY + 1 }), 'needs-force');
    assert.equal(operate(spool, id, { verb, now: NOW + 99 * DAY, force: true }), 'done');
  });
}

test('what was never posted may be retried and released for ever: no proxy knows it', (t) => {
  const spool = freshSpool(t);
  const { id } = enqueue(spool, handOver(), NOW);
  for (const verb of ['retry', 'hold', 'release'] satisfies Verb[]) {
    assert.equal(operate(spool, id, { verb, now: NOW + 99 * DAY }), 'done');
  }
});

test('a retry tries what failed, and not again what was sent (law 6)', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'sent', 'failed', 'failed');
  assert.deepEqual(states(spool, id), ['failed', 'sent', 'failed', 'failed']);
  assert.equal(operate(spool, id, { verb: 'retry', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['queued', 'sent', 'pending', 'pending']);
});

test('a retry needs the bytes', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'failed');
  deleteBodies(spool, [1]);
  assert.equal(operate(spool, id, { verb: 'retry', now: NOW }), 'wrong-state');
  assert.deepEqual(states(spool, id), ['failed', 'failed']);
});

test('a delete takes what waits and what failed, and leaves what was sent as it is', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'sent', 'pending', 'failed');
  assert.equal(operate(spool, id, { verb: 'delete', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['deleted', 'sent', 'deleted', 'deleted']);
  assert.equal(operate(spool, id, { verb: 'delete', now: NOW }), 'wrong-state', 'once is enough');
});

test('a bounce fails who is pending, by decision of an operator, and keeps the body for a retry', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'sent', 'pending', 'failed');
  assert.equal(operate(spool, id, { verb: 'bounce', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['failed', 'sent', 'failed', 'failed']);
  const [message] = findMessages(spool, id, NOW);
  assert.deepEqual(
    message?.recipients.map(({ status }) => status),
    ['2.0.0', '5.7.1', '5.1.1'],
  );
  assert.equal(operate(spool, id, { verb: 'retry', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['queued', 'sent', 'pending', 'pending']);
});

test('a return holds the message, and ends it only when Exim has it; what failed stays failed', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'sent', 'pending', 'failed');
  assert.equal(operate(spool, id, { verb: 'return', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['held', 'sent', 'pending', 'failed']);
  recordReturnRefused(spool, id, 'no room');
  assert.deepEqual(states(spool, id), ['held', 'sent', 'pending', 'failed']);
  assert.equal(operate(spool, id, { verb: 'returned', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['failed', 'sent', 'deleted', 'failed']);

  const other = freshSpool(t);
  const whole = posted(other, 'sent', 'pending');
  operate(other, whole, { verb: 'return', now: NOW });
  assert.equal(operate(other, whole, { verb: 'returned', now: NOW }), 'done');
  assert.deepEqual(states(other, whole), ['deleted', 'sent', 'deleted']);
});

test('a return of what failed takes who failed with it, as a retry does', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'sent', 'failed');
  assert.equal(operate(spool, id, { verb: 'return', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['held', 'sent', 'pending']);
});

test('who was told of a failure is not surprised while others wait: retry leaves it bounced', (t) => {
  const spool = freshSpool(t);
  const id = posted(spool, 'failed', 'pending');
  told(spool);
  assert.equal(operate(spool, id, { verb: 'retry', now: NOW }), 'done');
  assert.deepEqual(states(spool, id), ['queued', 'bounced', 'pending']);
});

type Situation = MessageState | 'failed, body gone' | 'bounced, body gone';

/** Messages in all situations there are. */
const situations: Record<Situation, (spool: Spool) => string> = {
  queued: (spool) => enqueue(spool, handOver(), NOW).id,
  sending: (spool) => {
    const { id } = enqueue(spool, handOver(), NOW);
    spool.transaction(() => claim(spool, { messages: 1, bytes: 1e6, bypassBytes: 0 }, NOW));
    return id;
  },
  held: (spool) => {
    const { id } = enqueue(spool, handOver(), NOW);
    operate(spool, id, { verb: 'hold', now: NOW });
    return id;
  },
  failed: (spool) => posted(spool, 'failed'),
  'failed, body gone': (spool) => {
    const id = posted(spool, 'failed');
    deleteBodies(spool, [1]);
    return id;
  },
  bounced: (spool) => {
    const id = posted(spool, 'failed');
    told(spool);
    return id;
  },
  'bounced, body gone': (spool) => {
    const id = posted(spool, 'failed');
    told(spool);
    deleteBodies(spool, [1]);
    return id;
  },
  sent: (spool) => posted(spool, 'sent'),
  deleted: (spool) => {
    const { id } = enqueue(spool, handOver(), NOW);
    operate(spool, id, { verb: 'delete', now: NOW });
    return id;
  },
};

/** The state that each verb leads to; what is not here is refused, and changes nothing. */
const outcomes: Record<Verb | 'returned', Partial<Record<Situation, MessageState>>> = {
  retry: { queued: 'queued', failed: 'queued', bounced: 'queued' },
  hold: { queued: 'held' },
  release: { held: 'queued' },
  bounce: { queued: 'failed', held: 'failed' },
  delete: {
    queued: 'deleted',
    held: 'deleted',
    failed: 'deleted',
    'failed, body gone': 'deleted',
    bounced: 'deleted',
    'bounced, body gone': 'deleted',
  },
  return: { queued: 'held', held: 'held', failed: 'held', bounced: 'held' },
  returned: { queued: 'deleted', held: 'deleted' },
};

for (const [verb, leadsTo] of Object.entries(outcomes)) {
  test(`${verb} has an outcome in every state, and a line of history where it did something`, (t) => {
    for (const [situation, make] of Object.entries(situations)) {
      const spool = freshSpool(t);
      const id = make(spool);
      const before = states(spool, id);
      const history = historyOf(spool, 1).length;
      const expected = leadsTo[situation as Situation];
      const operated = operate(spool, id, { verb: verb as Verb, now: NOW });
      const refused = situation === 'sending' ? 'busy' : 'wrong-state';
      assert.equal(operated, expected ? 'done' : refused, situation);
      if (expected) assert.equal(states(spool, id)[0], expected, situation);
      else assert.deepEqual(states(spool, id), before, situation);
      const added = historyOf(spool, 1).slice(history);
      assert.deepEqual(
        added.map(({ what }) => what),
        expected ? [verb] : [],
        situation,
      );
      assert.equal(operate(spool, 'f'.repeat(32), { verb: verb as Verb, now: NOW }), 'missing');
    }
  });
}

/** The sender is told of what failed. */
function told(spool: Spool): void {
  const [notice] = dueReports(spool, NOW, 1);
  assert.ok(notice);
  spool.transaction(() => markReported(spool, notice, reportedMail(spool, notice), NOW));
}
