import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import test, { type TestContext } from 'node:test';
import { attempt, type PostResult, type PostRequest } from '../../src/wire/attempt.ts';
import { Connection } from '../../src/wire/connection.ts';
import { encodeVerdicts } from '../../src/wire/verdicts.ts';
import { greetedServer } from '../support/greeted-server.ts';
import { ScriptedProxy, type Script } from '../support/scripted-proxy.ts';

const key = Buffer.from('a secret key');
const message = Buffer.from('Subject: x\n\n\0\xff\r\n', 'latin1');
const toPost: PostRequest = {
  id: '0123456789abcdef0123456789abcdef',
  envelope: { sender: 's@example.com', recipients: ['a@example.org', 'ü@example.org'] },
  bytes: [message.subarray(0, 9), message.subarray(9)],
  size: message.length,
};
const never = new AbortController().signal;

/** One attempt at a proxy that answers so; the connection shows what was learned. */
async function ask(t: TestContext, script: Script, connection?: Connection): Promise<PostResult> {
  const proxy = await ScriptedProxy.start(t, key.toString(), script);
  const used = connection ?? new Connection({ url: new URL(proxy.url), key });
  t.after(() => used.close());
  return attempt(used, toPost, never);
}

test('the request is what the interface says, byte for byte, and nothing else', async (t) => {
  const proxy = await ScriptedProxy.start(t, key.toString(), (post) => post.accept());
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  const before = Math.floor(Date.now() / 1000);
  await attempt(connection, toPost, never);
  const after = Math.floor(Date.now() / 1000);

  const [{ request, timestamp, ...received } = assert.fail()] = proxy.posts;
  assert.deepEqual([request.method, request.url], ['POST', '/']);
  const body = Buffer.concat([
    Buffer.from('{"sender":"s@example.com","recipients":["a@example.org","ü@example.org"]}\n'),
    message,
  ]);
  assert.ok(Number(timestamp) >= before && Number(timestamp) <= after, timestamp);
  const hint = createHmac('sha256', key).update('appengine-mailer-key-hint');
  const hmac = createHmac('sha256', key).update(`${toPost.id}.${timestamp}.`).update(body);
  assert.deepEqual(
    { ...request.headers },
    {
      host: new URL(proxy.url).host,
      connection: 'keep-alive',
      'content-type': 'application/vnd.appengine-mailer.v2',
      'content-length': String(body.length),
      'user-agent': 'appengine-mailer',
      'webhook-id': toPost.id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${hmac.digest('base64')}`,
      'appengine-mailer-key-hint': hint.digest('hex').slice(0, 16),
    },
  );
  assert.deepEqual(received.bytes, message);
  assert.deepEqual(received.recipients, toPost.envelope.recipients);
});

test('verdicts: all classes, in the order of the recipients, reasons cut to 500 characters', async (t) => {
  const answer = await ask(t, (post) =>
    post.answer((recipient) =>
      recipient.startsWith('a')
        ? { status: '5.1.1', reason: 'no' }
        : { status: '4.2.2', reason: 'x'.repeat(600) },
    ),
  );
  assert.deepEqual(answer, {
    kind: 'verdicts',
    verdicts: [
      { recipient: 'a@example.org', status: '5.1.1', reason: 'no' },
      { recipient: 'ü@example.org', status: '4.2.2', reason: 'x'.repeat(500) },
    ],
  });
});

test('a 200 counts only when it is signed, complete and about this post (law 5)', async (t) => {
  const [a, b] = toPost.envelope.recipients.map((recipient) => ({
    recipient,
    status: '2.0.0',
    reason: '',
  }));
  assert.ok(a && b);
  const bodies: [string, string | Buffer, RegExp][] = [
    ['another id', encodeVerdicts('another', [a, b]), /another message/],
    ['the other order', encodeVerdicts(toPost.id, [b, a]), /other recipients/],
    ['one too few', encodeVerdicts(toPost.id, [a]), /1 verdicts for 2/],
    ['one too many', encodeVerdicts(toPost.id, [a, b, b]), /3 verdicts for 2/],
    [
      'an invalid class',
      encodeVerdicts(toPost.id, [a, { ...b, status: '3.1.1' }]),
      /cannot be read: .3\.1\.1/,
    ],
    [
      'an invalid status',
      encodeVerdicts(toPost.id, [a, { ...b, status: '250 OK' }]),
      /cannot be read/,
    ],
    [
      'a number for a status',
      JSON.stringify({ id: toPost.id, verdicts: [a, { ...b, status: 5 }] }),
      /cannot be read/,
    ],
    [
      'no reason',
      JSON.stringify({ id: toPost.id, verdicts: [a, { ...b, reason: null }] }),
      /without a reason/,
    ],
    [
      'null for a verdict',
      JSON.stringify({ id: toPost.id, verdicts: [a, null] }),
      /other recipients/,
    ],
    ['verdicts that are no list', JSON.stringify({ id: toPost.id, verdicts: {} }), /no verdicts/],
    ['null', 'null', /another message/],
    ['nothing', '', /not JSON/],
    ['half of it', encodeVerdicts(toPost.id, [a, b]).subarray(0, 40), /not JSON/],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), /not JSON in UTF-8/],
  ];
  for (const [name, body, fault] of bodies) {
    const answer = await ask(t, (post) => post.signed(200, Buffer.from(body)));
    assert.ok(
      answer.kind === 'invalid-response' && answer.signed,
      `${name}: ${JSON.stringify(answer)}`,
    );
    assert.match(answer.fault, fault, name);
  }
});

test('a signature of another key, id, time or body is none (law 5)', async (t) => {
  const body = encodeVerdicts(
    toPost.id,
    toPost.envelope.recipients.map((recipient) => ({ recipient, status: '5.1.1', reason: '' })),
  );
  const right = {
    'webhook-id': toPost.id,
    'webhook-timestamp': '1',
    'webhook-signature': mac(`${toPost.id}.1.${body.toString()}`),
  };
  const wrong: [string, Record<string, string>][] = [
    ['none', {}],
    [
      'another key',
      {
        ...right,
        'webhook-signature': mac(`${toPost.id}.1.${body.toString()}`, Buffer.from('other')),
      },
    ],
    [
      'another id',
      { ...right, 'webhook-id': 'x', 'webhook-signature': mac(`x.1.${body.toString()}`) },
    ],
    ['another time', { ...right, 'webhook-timestamp': '2' }],
    ['another body', { ...right, 'webhook-signature': mac(`${toPost.id}.1.${body.toString()} `) }],
    [
      'an invalid time',
      {
        ...right,
        'webhook-timestamp': 'now',
        'webhook-signature': mac(`${toPost.id}.now.${body.toString()}`),
      },
    ],
  ];
  for (const [name, headers] of wrong) {
    const answer = await ask(t, ({ response }) => void response.writeHead(200, headers).end(body));
    assert.deepEqual(
      answer,
      { kind: 'invalid-response', signed: false, fault: 'the answer is not signed with our key' },
      name,
    );
  }
  const second = { ...right, 'webhook-signature': `${mac('x')} ${right['webhook-signature']}` };
  const answer = await ask(t, ({ response }) => void response.writeHead(200, second).end(body));
  assert.equal(answer.kind, 'verdicts', 'one of several signatures suffices');
});

test('a signed 401 sets the clock for the next attempt, an unsigned one does not', async (t) => {
  const ahead = 7_200_000;
  const proxy = await ScriptedProxy.start(t, key.toString(), (post) =>
    proxy.posts.length === 1
      ? post.signed(401, Buffer.from('off'), {
          timestamp: Math.floor((Date.now() + ahead) / 1000),
        })
      : post.accept(),
  );
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  assert.deepEqual(await attempt(connection, toPost, never), { kind: 'clock' });
  assert.equal((await attempt(connection, toPost, never)).kind, 'verdicts');
  const [first, second] = proxy.posts.map(({ timestamp }) => Number(timestamp));
  const step = (second ?? 0) - (first ?? 0);
  assert.ok(step >= 7199 && step < 7260, `${step} s`);

  const unsigned = new Connection({ url: new URL(proxy.url), key });
  t.after(() => unsigned.close());
  proxy.script = ({ response }) =>
    void response.writeHead(401, { 'webhook-id': toPost.id, 'webhook-timestamp': '1' }).end();
  assert.deepEqual(await attempt(unsigned, toPost, never), {
    kind: 'http',
    status: 401,
    text: '',
    retryAfterMs: undefined,
  });
  assert.equal(unsigned.clockOffsetMs, 0);
});

test('any other status is told with its plain text and Retry-After, and no redirect is followed', async (t) => {
  const http = async (status: number, headers: Record<string, string>, body: string) =>
    ask(t, ({ response }) => void response.writeHead(status, headers).end(body));
  const plain = { 'content-type': 'text/plain' };
  assert.deepEqual(await http(503, { ...plain, 'retry-after': '7' }, ' later \n'), {
    kind: 'http',
    status: 503,
    text: 'later',
    retryAfterMs: 7000,
  });
  assert.deepEqual(await http(400, { 'content-type': 'text/html' }, '<p>no'), {
    kind: 'http',
    status: 400,
    text: '',
    retryAfterMs: undefined,
  });
  assert.deepEqual(await http(204, plain, ''), {
    kind: 'http',
    status: 204,
    text: '',
    retryAfterMs: undefined,
  });
  const long = await http(500, plain, 'x'.repeat(600));
  assert.ok(long.kind === 'http' && long.text.length === 500);

  const date = await http(429, { 'retry-after': new Date(Date.now() + 90_000).toUTCString() }, '');
  assert.ok(
    date.kind === 'http' && (date.retryAfterMs ?? 0) > 60_000 && (date.retryAfterMs ?? 0) <= 90_000,
  );
  // The server's clock is what it says it is, whatever ours says.
  const behind = await http(
    429,
    { date: 'Mon, 01 Jan 2024 00:00:00 GMT', 'retry-after': 'Mon, 01 Jan 2024 00:01:30 GMT' },
    '',
  );
  assert.ok(behind.kind === 'http' && behind.retryAfterMs === 90_000);
  const past = await http(429, { 'retry-after': 'Mon, 01 Jan 2024 00:00:00 GMT' }, '');
  assert.ok(past.kind === 'http' && past.retryAfterMs === 0);
  const none = await http(429, { 'retry-after': 'soon' }, '');
  assert.ok(none.kind === 'http' && none.retryAfterMs === undefined);

  const proxy = await ScriptedProxy.start(
    t,
    key.toString(),
    ({ response }) => void response.writeHead(307, { location: '/elsewhere' }).end(),
  );
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  const answer = await attempt(connection, toPost, never);
  assert.ok(answer.kind === 'http' && answer.status === 307);
  assert.equal(proxy.posts.length, 1);
});

test('the caller may give up: before, and while the answer is waited for', async (t) => {
  const proxy = await ScriptedProxy.start(t, key.toString(), () => {});
  const connection = new Connection({ url: new URL(proxy.url), key });
  t.after(() => connection.close());
  assert.deepEqual(await attempt(connection, toPost, AbortSignal.abort()), { kind: 'aborted' });
  assert.equal(proxy.posts.length, 0);
  const stop = new AbortController();
  const answer = attempt(connection, toPost, stop.signal);
  await proxy.received(1);
  stop.abort();
  assert.deepEqual(await answer, { kind: 'aborted' });
});

test('a request that ends in the middle of the body is not told as a body that cannot be read', async (t) => {
  const stop = new AbortController();
  let broken = 0;
  const { url } = await greetedServer(t, key, (socket) => {
    broken += 1;
    if (broken === 1) socket.resetAndDestroy();
    else stop.abort();
  });
  const connection = new Connection({ url, key });
  t.after(() => connection.close());
  const bytes = Array.from({ length: 32 }, () => Buffer.alloc(1_000_000));
  const large = { ...toPost, bytes, size: 32_000_000 };
  const reset = await attempt(connection, large, stop.signal);
  assert.equal(reset.kind, 'network');
  assert.deepEqual(await attempt(connection, large, stop.signal), { kind: 'aborted' });
});

function mac(text: string, secret = key): string {
  return `v1,${createHmac('sha256', secret).update(text).digest('base64')}`;
}
