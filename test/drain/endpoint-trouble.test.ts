import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sign } from '../../src/wire/sign.ts';
import { encodeVerdicts } from '../../src/wire/verdicts.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type Received, type Script } from '../support/scripted-proxy.ts';

interface Trouble {
  name: string;
  refuse: Script;
  /** What the journal says of the endpoint. */
  says: RegExp;
  /** What the operator has to do, where time alone does not help. */
  remedy?: RegExp;
  /** What the answer's Retry-After asked for. */
  retryAfterMs?: number;
}

const plain =
  (status: number, headers: Record<string, string> = {}, body = ''): Script =>
  ({ response }) => {
    response.writeHead(status, { 'content-type': 'text/plain', ...headers });
    response.end(body);
  };

/** Answers signed with the right key, about the right message, with a body that is not right. */
const signedBody =
  (body: (post: Received) => Buffer): Script =>
  (post) =>
    post.signed(200, body(post));

const troubles: Trouble[] = [
  { name: '401', refuse: plain(401), says: /answered 401/, remedy: /GMAIL_SECRET_KEY/ },
  {
    name: '403',
    refuse: plain(403, {}, 'not from your network'),
    says: /answered 403 "not from your network"/,
    remedy: /let this host in/,
  },
  { name: '404', refuse: plain(404), says: /answered 404/, remedy: /path of GMAIL_PROXY_URL/ },
  {
    name: '302',
    refuse: plain(302, { location: '/elsewhere' }),
    says: /answered 302, a redirect/,
    remedy: /final address/,
  },
  {
    name: '429 with Retry-After',
    refuse: plain(429, { 'retry-after': '2' }),
    says: /answered 429/,
    retryAfterMs: 2000,
  },
  {
    name: '503 with Retry-After',
    refuse: plain(503, { 'retry-after': '2' }),
    says: /answered 503/,
    retryAfterMs: 2000,
  },
  { name: '500', refuse: plain(500), says: /answered 500/ },
  {
    name: '200 with HTML',
    refuse: plain(200, { 'content-type': 'text/html' }, '<html>Log in</html>'),
    says: /answered 200, but the answer is not signed/,
    remedy: /GMAIL_PROXY_URL/,
  },
  {
    name: '200 with verdicts and no signature',
    refuse: ({ id, recipients, response }) => {
      const all = recipients.map((recipient) => ({ recipient, status: '5.1.1', reason: '' }));
      response.end(encodeVerdicts(id, all));
    },
    says: /answered 200, but the answer is not signed/,
    remedy: /GMAIL_PROXY_URL/,
  },
  {
    name: '200 signed for another id',
    refuse: (post) => post.signed(200, verdicts(post), { id: 'another' }),
    says: /answered 200, but the answer is not signed/,
    remedy: /GMAIL_PROXY_URL/,
  },
  {
    name: '200 signed with another key',
    refuse: (post) => {
      const body = verdicts(post);
      const { id, key, timestamp } = post;
      const signature = sign(Buffer.from(`not ${key}`), { id, timestamp, body: [body] });
      const headers = { id, timestamp, signature };
      for (const [name, value] of Object.entries(headers))
        post.response.setHeader(`webhook-${name}`, value);
      post.response.end(body);
    },
    says: /answered 200, but the answer is not signed/,
    remedy: /GMAIL_PROXY_URL/,
  },
  {
    name: 'a signed answer about another message',
    refuse: signedBody((post) => verdicts({ id: 'another', recipients: post.recipients })),
    says: /about another message/,
  },
  {
    name: 'a signed answer about other recipients',
    refuse: signedBody((post) =>
      // A probe has no recipients that could be other ones.
      post.recipients.length === 0
        ? Buffer.from('{}')
        : verdicts({ id: post.id, recipients: ['x@y'] }),
    ),
    says: /about (?:other recipients|another message)/,
  },
  {
    name: 'a signed answer without verdicts',
    refuse: signedBody(({ id }) => Buffer.from(JSON.stringify({ id }))),
    says: /has no verdicts/,
  },
  {
    name: 'a signed answer that is not JSON',
    refuse: signedBody(() => Buffer.from('5.1.1 no such user')),
    says: /not JSON/,
  },
  {
    name: 'a connection that is cut',
    refuse: ({ response }) => void response.destroy(),
    says: /post to the proxy failed/,
  },
];

// dma #30, vector #10870: a wrong key or address bounced or dropped mail.
test(
  'trouble of the endpoint: the queue waits, nothing fails or is charged (law 5)',
  {
    concurrency: 6,
  },
  async (suite) => {
    await Promise.all(
      troubles.map((trouble) => suite.test(trouble.name, (t) => waits(t, trouble))),
    );
  },
);

async function waits(t: TestContext, trouble: Trouble): Promise<void> {
  const road = new Road(t);
  handIn(road.spool, [{}]);
  const arrivals: { at: number; answeredAt: number; open: number; probe: boolean }[] = [];
  let open = 0;
  const proxy = await ScriptedProxy.start(t, road.key, async (post) => {
    const arrival = { at: performance.now(), answeredAt: 0, open, probe: isProbe(post) };
    arrivals.push(arrival);
    open += 1;
    await sleep(30); // So that two requests at the same time would be seen.
    arrival.answeredAt = performance.now();
    await trouble.refuse(post);
    open -= 1;
  });
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  // Only now: while it is up, a post that takes longer than limits.slowPostMs would let the next one begin.
  await drain.says(/ is down: /);
  handIn(road.spool, [{}, { recipients: ['a@example.org', 'b@example.org'] }]);
  await drain.says(/try 2 failed/);

  assert.match(drain.stderr, trouble.says);
  assert.doesNotMatch(drain.stderr, /does the proxy run/, 'a server has answered');
  const [first, ...probes] = arrivals;
  assert.equal(first?.probe, false);
  assert.ok(probes.length >= 1 && probes.every(({ probe }) => probe), 'only probes while down');
  assert.ok(
    arrivals.every((arrival) => arrival.open === 0),
    'one at a time',
  );
  const [before, last] = arrivals.slice(-2);
  const waited = (last?.at ?? 0) - (before?.answeredAt ?? 0);
  // A timer may be a millisecond early.
  assert.ok(waited >= (trouble.retryAfterMs ?? 1000) - 5, `asked again after ${waited} ms`);

  for (const message of lookInto(road.spool).messages) {
    assert.deepEqual([message.state, message.attempts], ['queued', 0]);
    for (const { state, status } of message.recipients) {
      assert.deepEqual([state, status], ['pending', null]);
    }
  }

  proxy.script = (post) => post.accept();
  await drain.says(/attempt 1: .*> sent \(/, 3);
  assert.match(drain.stderr, /the proxy \S+ is back after/);
  const told = drain.stderr.match(/attention: .*/g) ?? [];
  assert.equal(told.length, trouble.remedy ? 1 : 0, told.join('\n'));
  if (trouble.remedy) assert.match(told.join(), trouble.remedy);

  const { code } = await drain.stop();
  assert.equal(code, 0);
  assert.equal(lookInto(road.spool).counters.sent, 3);
  const accepted = proxy.posts.slice(arrivals.length).filter((post) => !isProbe(post));
  assert.deepEqual(
    accepted.map(({ recipients }) => recipients.length).toSorted((a, b) => a - b),
    [1, 1, 2],
  );
}

test('of posts that were in flight together one is told to wait longer: that is when the proxy is asked, as the spool says', async (t) => {
  const road = new Road(t);
  const [first] = handIn(road.spool, [{}, {}, {}]);
  const proxy = await ScriptedProxy.start(t, road.key, (post) => {
    if (post.id === first) post.accept(); // Two are in flight then.
  });
  const drain = road.drain([], { GMAIL_PROXY_URL: proxy.url });
  const [one, other] = await proxy.received(2, ({ id }) => id !== first);
  one?.response.writeHead(503).end();
  await drain.says(/ is down: .*next try in 1 s/);
  other?.response.writeHead(503, { 'retry-after': '600' }).end();
  await drain.says(/not sent.*drain asks the proxy in 10 min/);
  const { endpoint, shown } = lookInto(road.spool);
  const inMs = (endpoint.asksAt ?? 0) - shown.now;
  assert.ok(inMs > 590_000 && inMs <= 600_000, `asked in ${inMs} ms`);
});

function verdicts({ id, recipients }: Pick<Received, 'id' | 'recipients'>): Buffer {
  const all = recipients.map((recipient) => ({
    recipient,
    status: '5.1.1',
    reason: 'no such user',
  }));
  return encodeVerdicts(id, all);
}

function isProbe({ recipients }: Received): boolean {
  return recipients.length === 0;
}
