import assert from 'node:assert/strict';
import test from 'node:test';
import type { Attempt } from '../../src/drain/attempt.ts';
import {
  planTurn,
  type EndpointEvent,
  type ProxyInUse,
  type TurnFacts,
} from '../../src/drain/plan-turn.ts';
import type { Claimed } from '../../src/spool/claim.ts';
import { usualRetryTimes } from '../support/retry-times.ts';

const NOW = 1_800_000_000_000;
const SECOND = 1000;
const policy = { delayWarningsMs: [], retryTimes: usualRetryTimes };

const message = (seq: number): Claimed => ({
  seq,
  id: `message-${seq}`,
  eximId: `exim-${seq}`,
  sender: 's@example.com',
  size: 5,
  queuedAt: 0,
  attempts: 0,
  deferrals: 0,
  renewedAt: NOW - SECOND,
  outageMs: 0,
  recipients: [{ position: 1, address: 'r@example.org' }],
});

/** An attempt that brought one verdict. */
function attempted(seq: number, status: string): Attempt {
  return {
    message: message(seq),
    verdicts: [{ recipient: 'r@example.org', status, reason: 'so' }],
    passed: true,
  };
}

const quiet: TurnFacts = {
  now: NOW,
  attempts: [],
  events: [],
  endpoint: { downSince: null, passedAt: NOW - SECOND, fallback: null },
  outageMs: 0,
  askedInMs: undefined,
  queued: 3,
  capacity: { messages: 4, bytes: 1000, bypassBytes: 100 },
  last: new Set([7]),
};

const plan = (facts: Partial<TurnFacts>) => planTurn({ ...quiet, ...facts }, policy, () => 0.5);

const passed: EndpointEvent = { kind: 'post-passed' };
const probed: EndpointEvent = { kind: 'probe-passed' };
const failed: EndpointEvent = {
  kind: 'failed',
  diagnosis: { text: 'refused', scope: 'endpoint' },
  failures: 1,
  waitMs: SECOND,
  isReported: false,
};

test('a turn without news changes nothing and claims what there is room for', () => {
  assert.deepEqual(plan({}), {
    now: NOW,
    capacity: quiet.capacity,
    last: quiet.last,
    askedInMs: undefined,
    postTo: undefined,
    answering: [],
    outcomes: [],
    endpoint: { to: 'same' },
    failures: [],
    neverPassed: false,
  });
});

test('each attempt has its outcome, in their order, by the random number of its own', () => {
  const attempts = [attempted(1, '2.0.0'), attempted(2, '4.2.2'), attempted(3, '4.2.2')];
  const numbers = [0.1, 0, 0.5];
  const { outcomes } = planTurn({ ...quiet, attempts }, policy, () => numbers.shift() ?? NaN);
  assert.deepEqual(
    outcomes.map(({ seq, lastStatus }) => [seq, lastStatus]),
    [
      [1, '2.0.0'],
      [2, '4.2.2'],
      [3, '4.2.2'],
    ],
  );
  assert.deepEqual(
    outcomes.slice(1).map(({ dueAt }) => dueAt - NOW),
    [24 * SECOND, 30 * SECOND],
  );
});

const down = { downSince: NOW - 60 * SECOND, passedAt: NOW - 90 * SECOND, fallback: null };
const askedInMs = 1500.4;

const url = 'http://proxies:8025/';
const first = { url, fallback: null };
const at = (address: string) => ({ url: `${url} at ${address}`, reason: 'so' });
const atOther = { ...quiet.endpoint, fallback: { ...at('192.0.2.2'), since: NOW - SECOND } };
const passedAt = (uses: ProxyInUse): EndpointEvent[] => [{ kind: 'post-passed', uses }];
const up = { to: 'up', downMs: undefined } as const;

/** What happened to an endpoint, and how its record changes. */
const rows: [
  name: string,
  facts: Partial<TurnFacts>,
  change: ReturnType<typeof planTurn>['endpoint'],
][] = [
  ['a post passes', { events: [passed] }, { to: 'up', downMs: undefined }],
  ['a post ends an outage', { events: [passed], endpoint: down }, { to: 'up', downMs: 60_000 }],
  [
    'a post passes after a failure',
    { events: [failed, passed], endpoint: down },
    { to: 'up', downMs: 60_000 },
  ],
  ['a probe passes and mail waits', { events: [probed], endpoint: down }, { to: 'same' }],
  [
    'a probe passes and nothing waits',
    { events: [probed], endpoint: down, queued: 0 },
    { to: 'up', downMs: 60_000 },
  ],
  [
    'the endpoint fails',
    { events: [failed], askedInMs },
    { to: 'down', reason: 'refused', asksAt: NOW + 1500 },
  ],
  [
    'the endpoint fails after a post passed',
    { events: [passed, failed], askedInMs },
    { to: 'down', reason: 'refused', asksAt: NOW + 1500 },
  ],
  [
    'a post that had passed before a failure ends after it',
    { events: [failed, passed], askedInMs },
    { to: 'down', reason: 'refused', asksAt: NOW + 1500 },
  ],
  [
    'the wait for a known outage changes',
    { askedInMs, endpoint: down },
    { to: 'down', reason: undefined, asksAt: NOW + 1500 },
  ],
  [
    'another address of the name is used',
    { events: passedAt({ url, fallback: at('192.0.2.2') }) },
    { ...up, uses: { url, fallback: at('192.0.2.2') } },
  ],
  [
    'the other address is used as before',
    { events: passedAt({ url, fallback: at('192.0.2.2') }), endpoint: atOther },
    up,
  ],
  [
    'a third address is used',
    { events: passedAt({ url, fallback: at('192.0.2.3') }), endpoint: atOther },
    { ...up, uses: { url, fallback: at('192.0.2.3') } },
  ],
  [
    'the first address is used again',
    { events: passedAt(first), endpoint: atOther },
    { ...up, uses: first },
  ],
];
for (const [name, facts, change] of rows) {
  test(`${name}: the record of the endpoint goes to ${change.to}`, () => {
    assert.deepEqual(plan(facts).endpoint, change);
  });
}

test('all failures of the endpoint are reported, also those after which a post passed', () => {
  const { failures, neverPassed } = plan({
    events: [failed, passed, failed, probed],
    endpoint: { downSince: null, passedAt: null, fallback: null },
  });
  assert.deepEqual([failures.length, neverPassed], [2, true]);
});
