import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import type { Attempt, Trouble } from '../../src/drain/attempt.ts';
import { decideOutcome, decideRecipient, type MessageAge } from '../../src/drain/decide-outcome.ts';
import type { Claimed } from '../../src/spool/claim.ts';
import { usualRetryTimes } from '../support/retry-times.ts';
import { holds } from '../support/holds.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;
const QUEUED_AT = 1_800_000_000_000;

const addresses = ['a@example.org', 'b@example.org', 'c@example.org'];

const message: Claimed = {
  seq: 7,
  id: '0123456789abcdef0123456789abcdef',
  eximId: '1abc-0',
  sender: 's@example.com',
  size: 5,
  queuedAt: 0,
  attempts: 3,
  deferrals: 2,
  renewedAt: QUEUED_AT,
  outageMs: 1000,
  recipients: addresses.map((address, position) => ({ position: position + 1, address })),
};

const HOUR = 60 * MINUTE;
const delayWarningsMs = [4 * HOUR, 24 * HOUR];

const policy = { delayWarningsMs, retryTimes: usualRetryTimes };

/** An attempt of the message, but for the message. */
type Result = Omit<Attempt, 'message'>;

/** What becomes of the message when it is so old, and the endpoint was down for `outage` meanwhile. */
function outcome(result: Result, { age = MINUTE, outage = 0, deferrals = 2 } = {}) {
  const time = { now: QUEUED_AT + age, outageMs: 1000 + outage, random: 0.5 };
  const given = { message: { ...message, deferrals }, ...result };
  const { attempt, ...decided } = decideOutcome(given, time, policy);
  assert.equal(attempt, given);
  return decided;
}

/** Verdicts on the recipients, in their order. */
function verdicts(...given: [status: string, reason: string][]): Result {
  return {
    verdicts: given.map(([status, reason], position) => ({
      recipient: addresses[position] ?? '',
      status,
      reason,
    })),
  };
}

function trouble(scope: 'endpoint' | 'message' | 'stop', retryAfterMs?: number): Result {
  return {
    verdicts: [],
    trouble: { scope, diagnosis: { text: 'it broke', scope: 'endpoint', retryAfterMs } },
  };
}

const deferred: [string, string] = ['4.2.2', 'mailbox full'];

test('2, 4 and 5 are sent, pending and failed, each recipient for itself (law 5)', () => {
  const [a, b, c] = addresses;
  const given = verdicts(['2.0.0', 'ok'], deferred, ['5.1.1', 'no such user']);
  assert.deepEqual(outcome(given), {
    seq: 7,
    verdicts: [
      { position: 1, address: a, state: 'sent', status: '2.0.0', reason: 'ok' },
      { position: 2, address: b, state: 'pending', status: '4.2.2', reason: 'mailbox full' },
      { position: 3, address: c, state: 'failed', status: '5.1.1', reason: 'no such user' },
    ],
    undecided: [],
    charged: true,
    warnings: 0,
    dueAt: QUEUED_AT + MINUTE + 2 * MINUTE,
    lastStatus: '4.2.2',
    lastReason: 'mailbox full',
    story: `<${c}> failed (5.1.1 no such user); <${b}> deferred (4.2.2 mailbox full); <${a}> sent (2.0.0 ok)`,
  });
});

test('the last status is of what is still to be done, else of what failed, else of what is sent', () => {
  const sent: [string, string] = ['2.0.0', 'ok'];
  const failed: [string, string] = ['5.1.1', 'no'];
  assert.equal(outcome(verdicts(sent, failed, deferred)).lastStatus, '4.2.2');
  assert.equal(outcome(verdicts(sent, failed, sent)).lastStatus, '5.1.1');
  assert.equal(outcome(verdicts(sent, sent, sent)).lastStatus, '2.0.0');
});

test('a message waits longer with every deferral, and in full what a server asks for', () => {
  const wait = (result: Result, deferrals: number) =>
    outcome(result, { deferrals }).dueAt - QUEUED_AT - MINUTE;
  assert.equal(wait(verdicts(deferred, deferred, deferred), 0), 30 * SECOND);
  assert.equal(wait(verdicts(deferred, deferred, deferred), 3), 4 * MINUTE);
  assert.equal(wait(trouble('message'), 3), 4 * MINUTE);
  assert.equal(wait(trouble('message', 7 * MINUTE), 3), 7 * MINUTE);
  assert.equal(wait(trouble('message', 60 * MINUTE), 3), 10 * MINUTE);
  assert.equal(wait(trouble('message', 1), 3), 4 * MINUTE);
});

test('trouble of the message alone defers all its recipients and is charged (law 5)', () => {
  const { verdicts: decided, charged, lastStatus, lastReason } = outcome(trouble('message'));
  assert.deepEqual(
    decided.map(({ position, state, status, reason }) => [position, state, status, reason]),
    [1, 2, 3].map((position) => [position, 'pending', '4.3.0', 'it broke']),
  );
  assert.equal(charged, true);
  assert.deepEqual([lastStatus, lastReason], ['4.3.0', 'it broke']);
});

for (const scope of ['endpoint', 'stop'] as const) {
  test(`trouble of ${scope}: nothing is decided or charged, and it is due at once (law 5)`, () => {
    for (const age of [0, 4 * DAY, 13.99 * DAY]) {
      assert.deepEqual(outcome(trouble(scope, 7 * MINUTE), { age }), {
        seq: 7,
        verdicts: [],
        undecided: addresses,
        charged: false,
        warnings: 0,
        dueAt: QUEUED_AT + age,
        lastStatus: '4.4.1',
        lastReason: 'it broke',
      });
    }
  });
}

test('verdicts before trouble of the endpoint count, and are charged', () => {
  assert.equal(outcome({ ...trouble('endpoint'), ...verdicts(['2.0.0', 'ok']) }).charged, true);
  const result = { ...trouble('endpoint'), ...verdicts(['2.0.0', 'ok'], ['5.1.1', 'no']) };
  const { verdicts: decided, charged, lastStatus } = outcome(result);
  assert.deepEqual(
    decided.map(({ position, state }) => [position, state]),
    [
      [1, 'sent'],
      [2, 'failed'],
    ],
  );
  assert.equal(charged, true);
  assert.equal(lastStatus, '4.4.1');
});

/** Whether the recipients fail of age: all of them, or none. */
function expires(result: Result, age: number, outage = 0): boolean {
  const { verdicts: decided } = outcome(result, { age, outage });
  const failed = decided.filter(({ state }) => state === 'failed');
  assert.ok(failed.length === 0 || failed.length === addresses.length);
  assert.ok(failed.every(({ status }) => status === '5.4.7'));
  return failed.length > 0;
}

/** The age at which it begins to expire, to a millisecond. */
function lifetime(result: Result, outage = 0): number {
  let [young, old] = [0, 100 * DAY];
  assert.ok(!expires(result, young, outage) && expires(result, old, outage));
  while (old - young > 1) {
    const middle = Math.floor((young + old) / 2);
    if (expires(result, middle, outage)) old = middle;
    else young = middle;
  }
  return old;
}

const ownTrouble: [name: string, result: Result][] = [
  ['4.x.x', verdicts(deferred, deferred, deferred)],
  ['trouble of the message', trouble('message')],
];
for (const [name, result] of ownTrouble) {
  test(`${name} ends a message after 5 days, or as much later as the endpoint was down (law 5)`, () => {
    assert.equal(lifetime(result), 5 * DAY);
    assert.equal(lifetime(result, 2 * DAY), 7 * DAY);
    assert.equal(lifetime(result, 9 * DAY), 14 * DAY);
    assert.equal(lifetime(result, 99 * DAY), 14 * DAY);
    assert.equal(lifetime(result, -500), 5 * DAY, 'a counter cannot run back');
  });
}

test('trouble of the endpoint ends a message only after 14 days that outages filled (law 5)', () => {
  for (const outage of [9 * DAY, 99 * DAY]) {
    assert.equal(lifetime(trouble('endpoint'), outage), 14 * DAY);
  }
});

test('days in which the host was off, or that a clock jumped over, end nothing by an outage', () => {
  for (const outage of [0, 8.9 * DAY]) {
    assert.equal(expires(trouble('endpoint'), 99 * DAY, outage), false);
  }
});

test('recipients that were put off before trouble of the endpoint wait their time (law 5)', () => {
  const result = { ...trouble('endpoint'), ...verdicts(['2.0.0', 'ok'], deferred) };
  const { dueAt, undecided } = outcome(result);
  assert.equal(dueAt, QUEUED_AT + MINUTE + 2 * MINUTE);
  assert.deepEqual(undecided, addresses.slice(2));
});

test('age alone ends nothing: not an attempt given up, not a success, not what has no verdict', () => {
  assert.equal(expires(trouble('stop'), 99 * DAY), false);
  const states = (result: Result) =>
    outcome(result, { age: 99 * DAY }).verdicts.map(({ state }) => state);
  assert.deepEqual(states(verdicts(['2.0.0', 'ok'])), ['sent']);
  assert.deepEqual(states({ ...trouble('stop'), ...verdicts(['2.0.0', 'ok']) }), ['sent']);
});

test('what expired says for how long it was tried and what was said last', () => {
  const [first] = outcome(verdicts(deferred), { age: 5.5 * DAY }).verdicts;
  assert.match(first?.reason ?? '', /not delivered in 5 days.*4\.2\.2 mailbox full$/);
});

test('only a 5.x.x verdict for that recipient, or old age at a failing attempt, fails one (law 5)', (t) => {
  const status = fc.constantFrom('2.0.0', '4.0.0', '4.5.3', '5.0.0', '5.4.7');
  const verdict = fc.record({ recipient: fc.constantFrom(...addresses, 'x@y'), status });
  const result = fc.record({
    verdicts: fc.array(
      verdict.map((each) => ({ ...each, reason: 'so' })),
      { maxLength: 4 },
    ),
    scope: fc.option(fc.constantFrom('endpoint', 'message', 'stop')),
  });
  const time = fc.integer({ min: -DAY, max: 20 * DAY });
  holds(
    t,
    fc.property(
      result,
      time,
      time,
      fc.double({ min: 0, max: 0.99, noNaN: true }),
      (given, age, outage, random) => {
        const ended = given.scope && trouble(given.scope).trouble;
        const { verdicts: decided, dueAt } = decideOutcome(
          { message, verdicts: given.verdicts, ...(ended ? { trouble: ended } : {}) },
          { now: QUEUED_AT + age, outageMs: 1000 + outage, random },
          policy,
        );
        assert.ok(dueAt >= QUEUED_AT + age);
        for (const { position, state } of decided) {
          const said = given.verdicts.findLast(
            ({ recipient }) => recipient === addresses[position - 1],
          );
          const refused = said?.status.startsWith('5') ?? false;
          const sent = said?.status.startsWith('2') ?? false;
          if (state === 'sent') assert.ok(sent);
          if (state === 'failed' && !refused) {
            assert.ok(!sent);
            const failing =
              said !== undefined || given.scope === 'message' || given.scope === 'endpoint';
            const oldAge = !said && given.scope === 'endpoint' ? 14 * DAY : 5 * DAY;
            assert.ok(failing && age >= oldAge, `failed at ${age} ms`);
          }
        }
      },
    ),
    3000,
  );
});

test('what may have been sent is held as it is, and neither deferred nor failed, however old (law 5)', () => {
  const diagnosis = { text: 'it answered 200', scope: 'endpoint', maybeSent: true } as const;
  const result: Result = {
    ...verdicts(['2.0.0', 'ok']),
    trouble: { scope: 'endpoint', diagnosis },
  };
  for (const age of [MINUTE, 30 * DAY]) {
    const {
      verdicts: decided,
      undecided,
      charged,
      warnings,
    } = outcome(result, { age, outage: age });
    assert.deepEqual([decided.map(({ state }) => state), charged, warnings], [['sent'], true, 0]);
    assert.deepEqual(undecided, addresses.slice(1));
  }
  assert.deepEqual(outcome(result).hold, { status: '4.4.2', reason: 'it answered 200' });
  assert.deepEqual(outcome({ ...result, damage: 'torn' }).hold, {
    status: '4.6.0',
    reason: 'torn',
  });
  for (const scope of ['endpoint', 'message', 'stop'] as const) {
    assert.equal(outcome(trouble(scope)).hold, undefined);
  }
});

const young: MessageAge = { ms: 5 * DAY - 1, isOver: false, isOverByOutage: false };
const old: MessageAge = { ms: 5 * DAY, isOver: true, isOverByOutage: false };
const oldByOutage: MessageAge = { ms: 14 * DAY, isOver: true, isOverByOutage: true };

const text = 'it broke';
const troubleOf = (scope: Trouble['scope'], maybeSent?: true): Trouble => ({
  scope,
  diagnosis: { text, scope: 'endpoint', ...(maybeSent && { maybeSent }) },
});
const mayBeSent = troubleOf('endpoint', true);

type Row = [
  name: string,
  verdict: string | undefined,
  trouble: Trouble | undefined,
  age: MessageAge,
  decided: string | undefined,
];

/** What is known about a recipient, how old the message is, and what is decided: a state and a status. */
const decisions: Row[] = [
  ['2.x.x', '2.0.0', undefined, young, 'sent 2.0.0'],
  ['2.x.x for an old message', '2.0.0', undefined, oldByOutage, 'sent 2.0.0'],
  ['2.x.x before trouble of the endpoint', '2.1.5', troubleOf('endpoint'), old, 'sent 2.1.5'],
  ['5.x.x', '5.1.1', undefined, young, 'failed 5.1.1'],
  ['5.x.x for an old message', '5.1.1', undefined, old, 'failed 5.1.1'],
  ['5.x.x before trouble of the message', '5.1.1', troubleOf('message'), young, 'failed 5.1.1'],
  ['4.x.x', '4.2.2', undefined, young, 'pending 4.2.2'],
  ['4.x.x for an old message', '4.2.2', undefined, old, 'failed 5.4.7'],
  ['4.x.x before trouble of the endpoint', '4.2.2', troubleOf('endpoint'), young, 'pending 4.2.2'],
  ['4.x.x and then what may be sent', '4.2.2', mayBeSent, young, 'pending 4.2.2'],
  ['a status that is not one', '7.0.0', undefined, young, 'pending 7.0.0'],
  ['trouble of the message', undefined, troubleOf('message'), young, 'pending 4.3.0'],
  ['trouble of an old message', undefined, troubleOf('message'), old, 'failed 5.4.7'],
  ['trouble of the endpoint', undefined, troubleOf('endpoint'), young, undefined],
  ['trouble of the endpoint and an old message', undefined, troubleOf('endpoint'), old, undefined],
  ['an outage of 14 days', undefined, troubleOf('endpoint'), oldByOutage, 'failed 5.4.7'],
  ['a proxy that asks for fewer posts', undefined, troubleOf('pace'), oldByOutage, undefined],
  ['a drain that stops', undefined, troubleOf('stop'), oldByOutage, undefined],
  ['what may be sent', undefined, mayBeSent, young, undefined],
  ['what may be sent and is old', undefined, mayBeSent, oldByOutage, undefined],
  ['nothing', undefined, undefined, oldByOutage, undefined],
];
for (const [name, status, happened, age, expected] of decisions) {
  test(`${name}: the recipient is ${expected ?? 'as it was'} (law 5)`, () => {
    const verdict = status === undefined ? undefined : { status, reason: 'so' };
    const decided = decideRecipient(verdict, happened, age);
    assert.equal(decided && `${decided.state} ${decided.status}`, expected);
    const said = verdict
      ? `${status} so`
      : `${happened?.scope === 'message' ? '4.3.0' : '4.4.1'} ${text}`;
    const days = age === oldByOutage ? 14 : 5;
    const isExpired = decided?.status === '5.4.7';
    const reason = isExpired
      ? `not delivered in ${days} days; the last answer was ${said}`
      : (verdict?.reason ?? text);
    if (decided) assert.equal(decided.reason, reason);
  });
}

test('a verdict keeps the name of the relay, and that the recipient was sent before', () => {
  const more = { remoteMta: 'relay.example.org', sentBefore: true } as const;
  const decided = decideRecipient({ status: '2.0.0', reason: 'ok', ...more }, undefined, young);
  assert.deepEqual(decided, { state: 'sent', status: '2.0.0', reason: 'ok', ...more });
});
