import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { BackendUnavailableError, type Delivery } from '../../src/proxy/backends/backend.ts';
import { callApi } from '../../src/proxy/backends/appengine/call-api.ts';
import { apiHost, appengineBackend } from '../../src/proxy/backends/appengine/appengine-backend.ts';
import { encodeField } from '../../src/proxy/backends/appengine/protobuf.ts';
import { rawServer } from '../support/raw-server.ts';
import {
  applicationError,
  EXCEPTION,
  rpcError,
  ScriptedApiHost,
  SENT,
  type ApiReply,
} from '../support/scripted-api-host.ts';
import { deliverWith } from '../support/send-with.ts';

const message = 'From: Me <me@example.com>\nTo: r@example.org\nSubject: x\n\nHello\n';

async function start(t: TestContext, script?: ScriptedApiHost['script']) {
  const api = await ScriptedApiHost.start(t);
  if (script) api.script = script;
  const journal: string[] = [];
  const backend = appengineBackend(
    api.host,
    proxyJournal(({ text }) => journal.push(text)),
  );
  const send = async (but: Partial<Delivery> = {}) => {
    const post = {
      key: '',
      id: 'an-id',
      sender: 'bounces@example.com',
      recipients: ['r@example.org'],
    };
    const [result] = await deliverWith(backend, { ...post, bytes: Buffer.from(message), ...but });
    assert.ok(result && 'status' in result);
    return `${result.status} ${result.reason}`;
  };
  return { api, journal, send };
}

const answers: [title: string, reply: ApiReply, result: RegExp][] = [
  ['VoidProto', SENT, /^2\.0\.0 taken by the Mail API$/],
  ['an empty answer', Buffer.alloc(0), /^2\.0\.0 /],
  ['INTERNAL_ERROR', applicationError(1, 'oops'), /^4\.3\.0 .* INTERNAL_ERROR: oops$/],
  ['BAD_REQUEST', applicationError(2, ''), /^5\.6\.0 the Mail API answered BAD_REQUEST$/],
  [
    'UNAUTHORIZED_SENDER',
    applicationError(3, 'Unauthorized sender'),
    /^5\.7\.1 Unauthorized message sender 'Me <me@example\.com>': .* UNAUTHORIZED_SENDER: /,
  ],
  ['INVALID_ATTACHMENT_TYPE', applicationError(4, ''), /^5\.6\.0 .* INVALID_ATTACHMENT_TYPE$/],
  ['INVALID_HEADER_NAME', applicationError(5, ''), /^5\.6\.0 .* INVALID_HEADER_NAME$/],
  ['INVALID_CONTENT_ID', applicationError(6, ''), /^5\.6\.0 .* INVALID_CONTENT_ID$/],
  [
    'a new application error',
    applicationError(77, 'new'),
    /^4\.3\.0 .* application error 77: new$/,
  ],
  ['UNKNOWN', rpcError(0), /^4\.3\.0 the Mail API answered UNKNOWN$/],
  ['PARSE_ERROR', rpcError(2, 'x'), /^5\.6\.0 .* PARSE_ERROR: x$/],
  ['REQUEST_TOO_LARGE', rpcError(5), /^5\.3\.4 .* REQUEST_TOO_LARGE$/],
  ["the RPC's BAD_REQUEST", rpcError(8), /^5\.6\.0 .* BAD_REQUEST$/],
  ['REPLAY_ERROR', rpcError(11), /^4\.3\.0 .* REPLAY_ERROR$/],
  ['a new RPC error', rpcError(99), /^4\.3\.0 .* rpc error 99$/],
  ['an exception', EXCEPTION, /^4\.3\.0 App Engine's API host failed$/],
  ['an exception of Java', encodeField(4, 'x'), /^4\.3\.0 App Engine's API host failed$/],
  [
    'RPC errors before others',
    Buffer.concat([SENT, applicationError(2, ''), rpcError(5)]),
    /^5\.3\.4 /,
  ],
  ['application errors before a response', Buffer.concat([SENT, applicationError(2, '')]), /^5/],
  ['HTTP 413', { status: 413 }, /^4\.3\.0 App Engine's API host answered HTTP 413$/],
];

for (const [title, reply, result] of answers) {
  test(`appengine: ${title} is a verdict on the message (law 5)`, async (t) => {
    const { send } = await start(t, () => reply);
    assert.match(await send(), result);
  });
}

const unavailable: [title: string, reply: ApiReply, retryAfterMs?: number][] = [
  ['CALL_NOT_FOUND', rpcError(1)],
  ['SECURITY_VIOLATION', rpcError(3)],
  ['OVER_QUOTA', rpcError(4), 300_000],
  ['CAPABILITY_DISABLED', rpcError(6)],
  ['FEATURE_DISABLED', rpcError(7)],
  ['HTTP 500', { status: 500 }],
  ['HTTP 404', { status: 404 }],
  ['HTTP 302', { status: 302 }],
];

for (const [title, reply, retryAfterMs] of unavailable) {
  test(`appengine: ${title} means that no mail can be sent, and charges none (law 5)`, async (t) => {
    const { send } = await start(t, () => reply);
    await assert.rejects(send(), (error) => {
      assert.ok(error instanceof BackendUnavailableError);
      assert.match(error.message, new RegExp(title));
      assert.equal(error.retryAfterMs, retryAfterMs);
      return true;
    });
  });
}

const unknown: [title: string, reply: ApiReply][] = [
  ['RESPONSE_TOO_LARGE', rpcError(9)],
  ['CANCELLED', rpcError(10)],
  ['DEADLINE_EXCEEDED', rpcError(12)],
  ['HTTP 502', { status: 502 }],
  ['HTTP 504', { status: 504 }],
  ['a lost answer', 'cut'],
  ['an answer that is cut off after its header', 'bare'],
  ['an answer that is no protobuf', Buffer.from('<html>')],
  ['an error without a code', Buffer.from([0x2a, 0])],
  ['an error that is a number', Buffer.from([0x28, 1])],
  ['an answer without an end', Buffer.alloc(100_000, SENT)],
];

for (const [title, reply] of unknown) {
  test(`appengine: after ${title} nobody knows whether it was sent (law 6)`, async (t) => {
    const { send } = await start(t, () => reply);
    await assert.rejects(send(), (error) => !(error instanceof BackendUnavailableError));
  });
}

test('appengine: a call that outlives its deadline is given up, and unknown (law 6)', async (t) => {
  const api = await ScriptedApiHost.start(t);
  api.script = () => 'hang';
  const call = { service: 'mail', method: 'Send', request: Buffer.alloc(0), ticket: '' };
  await assert.rejects(callApi(api.host, call, 0), (error: Error) => {
    assert.match(error.message, /^App Engine's API host 127\.0\.0\.1:\d+: no answer within 2 s$/);
    return !(error instanceof BackendUnavailableError);
  });
});

test('appengine: an answer that comes before the call was read is none, and charges no mail (law 5, law 6)', async (t) => {
  const { url } = await rawServer(t, (socket) => {
    socket.pause();
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\n\0');
  });
  const request = Buffer.alloc(20_000_000);
  const host = { host: url.hostname, port: Number(url.port) };
  const call = callApi(host, { service: 'mail', method: 'Send', request, ticket: '' }, 0);
  await assert.rejects(call, BackendUnavailableError);
});

test('appengine: a host at an IPv6 address is named with brackets', async () => {
  const call = { service: 'mail', method: 'Send', request: Buffer.alloc(0), ticket: '' };
  await assert.rejects(callApi({ host: '::1', port: 1 }, call), {
    message: /^App Engine's API host \[::1\]:1: /,
  });
});

test('appengine: of an answer with as many fields as the limit allows the first counts', async (t) => {
  const { send } = await start(t, () => Buffer.alloc(65_536, SENT));
  assert.match(await send(), /^2\.0\.0 /);
});

test('appengine: away from App Engine the error says so, and charges no mail (law 5)', async () => {
  const backend = appengineBackend(
    { host: 'appengine.googleapis.invalid', port: 10_001 },
    proxyJournal(() => {}),
  );
  const post = { key: '', id: 'x', sender: 's@example.com', recipients: ['r@example.org'] };
  const sending = deliverWith(backend, { ...post, bytes: Buffer.from(message) });
  await assert.rejects(sending, (error: Error) => {
    assert.match(error.message, /the appengine backend works on App Engine only/);
    return error instanceof BackendUnavailableError;
  });
});

test('appengine: where the API is follows from the environment', () => {
  assert.deepEqual(apiHost({}), { host: 'appengine.googleapis.internal', port: 10_001 });
  assert.deepEqual(apiHost({ API_HOST: '::1', API_PORT: '99' }), { host: '::1', port: 99 });
  assert.throws(() => apiHost({ API_PORT: '0' }), /API_PORT/);
});

test('appengine: a sender that Google refuses is replaced where that is asked for', async (t) => {
  const { api, journal, send } = await start(t, ({ message: { Sender } }) =>
    Sender[0] === 'us@example.com' ? SENT : applicationError(3, 'Unauthorized sender'),
  );
  assert.match(await send({ fallbackSender: 'us@example.com' }), /^2\.0\.0 /);
  assert.deepEqual(
    api.calls.map(({ message: { Sender, ReplyTo } }) => [Sender, ReplyTo]),
    [
      [['Me <me@example.com>'], []],
      [['us@example.com'], ['Me <me@example.com>']],
    ],
  );
  assert.match(journal.join('\n'), /'Me <me@example\.com>' is not an allowed sender; sent as <us@/);

  const replyTo = Buffer.from(message.replace('\n', '\nReply-To: you@example.com\n'));
  assert.match(await send({ fallbackSender: 'us@example.com', bytes: replyTo }), /^2\.0\.0 /);
  assert.deepEqual(api.calls[3]?.message.ReplyTo, ['you@example.com']);

  const refused = await send({ fallbackSender: 'nobody@example.com' });
  assert.match(refused, /^5\.7\.1 Unauthorized default message sender 'nobody@example\.com': /);
});

test('appengine: only a refused sender is replaced', async (t) => {
  const { api, send } = await start(t, () => applicationError(2, 'bad'));
  assert.match(await send({ fallbackSender: 'us@example.com' }), /^5\.6\.0 /);
  assert.equal(api.calls.length, 1);
});

test('appengine: a message that is larger than the Mail API takes is not sent', async (t) => {
  const { api, send } = await start(t);
  const bytes = Buffer.concat([Buffer.from(message), Buffer.alloc(31_500_000, 'x')]);
  assert.match(await send({ bytes }), /^5\.3\.4 for the Mail API .* larger than 31500000 bytes$/);
  assert.match(await send({ bytes: bytes.subarray(0, 31_499_000) }), /^2\.0\.0 /);
  assert.equal(api.calls.length, 1);
});

test('appengine: header fields that have no place are named in the journal', async (t) => {
  const { api, journal, send } = await start(t);
  const trace = 'Received: by x\nX-Spam: no\nx-spam: NO\nMIME-Version: 1.0\nReferences: <a@b>\n';
  const bytes = Buffer.from(trace + message);
  api.script = () => applicationError(2, '');
  await send({ bytes });
  assert.deepEqual(journal, [], 'nothing was sent, with them or without');
  api.script = () => SENT;
  await send({ bytes });
  assert.deepEqual(journal, [
    'an-id: sent without received, x-spam, which the Mail API does not take',
  ]);
});
