import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { Attempt } from '../../src/drain/attempt.ts';
import { commitTurn } from '../../src/drain/commit-turn.ts';
import { drainJournal } from '../../src/drain/drain-journal.ts';
import { logTurn } from '../../src/drain/log-turn.ts';
import { planTurn, type EndpointEvent, type TurnFacts } from '../../src/drain/plan-turn.ts';
import { claim, capacityLeft, type Claimed } from '../../src/spool/claim.ts';
import { endpointRecord } from '../../src/spool/endpoint.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handOver } from '../support/hand-over.ts';
import { usualRetryTimes } from '../support/retry-times.ts';

// What a turn plans, commits and logs, with a real spool and without posts.

const capacity = { messages: 1, ...capacityLeft([]) };
const proxy = { folder: '/spool', urls: ['https://proxy.example.org/'], queued: 2 };

const failed: EndpointEvent = {
  kind: 'failed',
  diagnosis: { text: 'refused', scope: 'endpoint', remedy: 'start it', unanswered: true },
  failures: 3,
  waitMs: 4000,
  isReported: true,
};

/** A spool of so many messages, of which the first is claimed. */
function claimedOf(t: TestContext, count: number): { spool: Spool; message: Claimed } {
  const spool = freshSpool(t);
  for (let place = 0; place < count; place += 1) {
    enqueue(spool, handOver({ eximId: `exim-${place}` }), spool.now());
  }
  const [message] = spool.transaction(() => claim(spool, capacity, spool.now()));
  assert.ok(message);
  return { spool, message };
}

function planOf(spool: Spool, facts: Partial<TurnFacts>) {
  const endpoint = endpointRecord(spool);
  const now = spool.now();
  const quiet = { attempts: [], events: [], outageMs: 0, askedInMs: undefined, queued: 1 };
  const all: TurnFacts = { now, endpoint, capacity, last: new Set(), ...quiet, ...facts };
  return planTurn(all, { delayWarningsMs: [], retryTimes: usualRetryTimes }, () => 0.5);
}

const states = (spool: Spool) =>
  spool.db.prepare('SELECT state FROM message ORDER BY seq').pluck().all();

function sentTo(message: Claimed): Attempt {
  const verdicts = message.recipients.map(({ address }) => ({
    recipient: address,
    status: '2.0.0',
    reason: 'ok',
  }));
  return { message, verdicts, passed: true };
}

test('a turn records what ended and claims what is due in one transaction (law 7)', (t) => {
  const { spool, message } = claimedOf(t, 2);
  const events: EndpointEvent[] = [{ kind: 'post-passed' }];
  const { claimed } = commitTurn(spool, planOf(spool, { attempts: [sentTo(message)], events }));
  assert.deepEqual([states(spool), claimed.map(({ seq }) => seq)], [['sent', 'sending'], [2]]);
  assert.notEqual(endpointRecord(spool).passedAt, null);
});

test('a turn that cannot be committed writes nothing (law 7)', (t) => {
  const { spool, message } = claimedOf(t, 2);
  spool.db.exec(`CREATE TRIGGER broken BEFORE UPDATE OF state ON message WHEN NEW.state = 'sending'
    BEGIN SELECT raise(ABORT, 'it is damaged'); END`);
  const plan = planOf(spool, { attempts: [sentTo(message)], events: [failed], askedInMs: 1000 });
  assert.throws(() => commitTurn(spool, plan), /it is damaged/);
  assert.deepEqual(states(spool), ['sending', 'queued']);
  assert.equal(endpointRecord(spool).downSince, null);
});

test('what a turn tells the journal is read in its transaction: where that fails nothing is committed, and no line is lost', (t) => {
  const { spool, message } = claimedOf(t, 2);
  const plan = planOf(spool, { attempts: [sentTo(message)] });
  const sql: typeof spool.sql = spool.sql.bind(spool);
  t.mock.method(spool, 'sql', (text: string) => {
    if (text.includes('FROM counter')) throw new Error('the disk failed');
    return sql(text);
  });
  assert.throws(() => commitTurn(spool, plan), /the disk failed/);
  assert.deepEqual(states(spool), ['sending', 'queued']);
});

test('an outage is recorded with its reason, and ended by a post', (t) => {
  const { spool, message } = claimedOf(t, 1);
  const down = planOf(spool, { events: [failed], askedInMs: 1000 });
  commitTurn(spool, down);
  const { downSince, reason, asksAt } = endpointRecord(spool);
  assert.deepEqual([downSince, reason, asksAt], [down.now, 'refused', down.now + 1000]);

  const events: EndpointEvent[] = [{ kind: 'post-passed' }];
  commitTurn(spool, planOf(spool, { attempts: [sentTo(message)], events }));
  assert.equal(endpointRecord(spool).downSince, null);
});

test('a message that may have been sent, or is damaged, is held with the reason (law 5)', (t) => {
  for (const more of [
    {
      trouble: {
        scope: 'endpoint',
        diagnosis: { text: 'it answered 202', scope: 'endpoint', maybeSent: true },
      },
    },
    { damage: 'part 3 is gone' },
  ] as const) {
    const { spool, message } = claimedOf(t, 1);
    commitTurn(spool, planOf(spool, { attempts: [{ message, verdicts: [], ...more }] }));
    assert.deepEqual(states(spool), ['held']);
    const reason = spool.db.prepare('SELECT last_reason FROM message').pluck().get();
    assert.match(String(reason), /it answered 202|part 3 is gone/);
  }
});

test('the journal tells each outcome, then the failures with what to do, then the end of an outage', (t) => {
  const { spool, message } = claimedOf(t, 1);
  const lines: string[] = [];
  const journal = drainJournal(({ text }) => lines.push(text));
  const down = planOf(spool, {
    attempts: [
      {
        message,
        verdicts: [],
        trouble: { scope: 'endpoint', diagnosis: { text: 'refused', scope: 'endpoint' } },
      },
    ],
    events: [failed, { ...failed, isReported: false }],
    askedInMs: 4000,
  });
  logTurn(journal, down, { ...proxy, wallNow: Date.now() });
  assert.equal(lines.length, 4, lines.join('\n'));
  assert.match(
    lines[0] ?? '',
    /not sent, stays in the queue \(4\.4\.1 refused\); drain asks the proxy/,
  );
  assert.match(lines[1] ?? '', /is down: refused \(no post has ever passed:.* try 3 failed/);
  assert.match(lines[2] ?? '', /^attention: refused\..*start it/);
  assert.match(lines[3] ?? '', /is down: refused/);

  lines.length = 0;
  const before = { downSince: null, passedAt: 1, fallback: null };
  logTurn(journal, planOf(spool, { events: [failed], endpoint: before }), {
    ...proxy,
    wallNow: Date.now(),
  });
  assert.match(lines[0] ?? '', /is down: refused; 2 messages queued/);

  lines.length = 0;
  const endpoint = { downSince: spool.now() - 60_000, passedAt: 1, fallback: null };
  const attempts = [sentTo(message)];
  logTurn(journal, planOf(spool, { attempts, endpoint, events: [{ kind: 'post-passed' }] }), {
    ...proxy,
    wallNow: Date.now(),
  });
  assert.equal(lines.length, 2, lines.join('\n'));
  assert.match(lines[0] ?? '', /attempt 1: .* sent \(2\.0\.0 ok\)$/);
  assert.match(lines[1] ?? '', /is back after 60 s/);
});

test('that the proxy asks for fewer posts, or what has the null sender, has its own words', (t) => {
  const { spool, message } = claimedOf(t, 1);
  const lines: string[] = [];
  const journal = drainJournal(({ text }) => lines.push(text));
  const pace = { scope: 'pace', diagnosis: { text: 'busy', scope: 'endpoint' } } as const;
  logTurn(journal, planOf(spool, { attempts: [{ message, verdicts: [], trouble: pace }] }), {
    ...proxy,
    wallNow: Date.now(),
  });
  assert.deepEqual(lines, [], 'it is told once for all messages');

  const [recipient] = message.recipients;
  const verdicts = [{ recipient: recipient?.address ?? '', status: '5.1.1', reason: 'gone' }];
  const report = { ...message, sender: '' };
  logTurn(journal, planOf(spool, { attempts: [{ message: report, verdicts }] }), {
    ...proxy,
    wallNow: Date.now(),
  });
  assert.equal(lines.length, 2, lines.join('\n'));
  assert.match(lines[1] ?? '', /has the null sender, so nobody is told/);
});
