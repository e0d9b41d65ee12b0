import assert from 'node:assert/strict';
import test from 'node:test';
import { limits } from '../../src/mail/limits.ts';
import { attemptV1 } from '../../src/wire/attempt-v1.ts';
import { Connection } from '../../src/wire/connection.ts';
import { postToAll } from '../../src/wire/post-to-all.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { OriginalServer, type Fault } from '../support/original-server.ts';
import { Road } from '../support/road.ts';

const from = 'From: Some Body <s@example.com>\n';
const args = ['--wire', 'v1'];

test('one post a recipient, who is its first To; Bcc and Resent-* go, other bytes stay', async (t) => {
  const { road, server, env } = await start(t);
  const bytes = Buffer.from(
    `Received: by x\r\n${from}To: List\n <list@example.org>,\n\tB\xe9 <b@example.org>\n` +
      'Cc : cc@example.org\nbCC: blind@example.org,\n more@example.org\nResent-To: x@example.org\n' +
      'resent-bcc: y@example.org\nSubject: 8-bit \xff + & = % ~\n\nTo: body\nBcc: body\r\n\0\x80 end',
    'latin1',
  );
  const recipients = ['a@example.org', 'cc@example.org', 'blind@example.org'];
  handIn(road.spool, [{ recipients, bytes }]);
  const { code, stderr } = await road.drain(['--once', ...args], env).ended;
  assert.equal(code, 0, stderr);

  assert.deepEqual(
    server.sent.map(({ to }) => to),
    recipients,
  );
  for (const { to, message } of server.sent) {
    const expected =
      `To: ${to}\r\nReceived: by x\r\n${from}X-Original-To: List\n <list@example.org>,\n` +
      '\tB\xe9 <b@example.org>\nX-Original-Cc : cc@example.org\n' +
      'Subject: 8-bit \xff + & = % ~\n\nTo: body\nBcc: body\r\n\0\x80 end';
    assert.equal(message.toString('latin1'), expected);
  }
  assert.equal(lookInto(road.spool).counters.sent, 1);
});

test('what the original refuses for good fails at once, alone, with its text (law 5)', async (t) => {
  const { road, server, env } = await start(t);
  server.fault = (to) =>
    to === 'gone@example.org' ? [400, 'No destination addresses specified'] : undefined;
  const good = `${from}Subject: x\n\nHello\n`;
  handIn(road.spool, [
    { bytes: good },
    { bytes: 'From: root@localhost\n\nHello\n' },
    { bytes: 'Subject: nobody\n\nHello\n' },
    { bytes: `${from}\n` },
    { bytes: `${from}Content-Type: message/rfc822\n\nHello\n` },
    { bytes: good, recipients: ['a@example.org', 'gone@example.org', 'b@example.org'] },
    { bytes: good, recipients: ['a@example.org', 'no address', 'b@example.org'] },
    { bytes: good, recipients: ['\udce9@example.org'] },
  ]);
  const { code, stderr } = await road.drain(['--once', ...args], env).ended;
  assert.equal(code, 0, stderr);

  const results = lookInto(road.spool).messages.map(({ recipients }) =>
    recipients.map(({ status, reason }) => `${status} ${reason}`),
  );
  assert.deepEqual(results, [
    ['2.0.0 sent'],
    ["5.7.1 Unauthorized message sender 'root@localhost'"],
    ['5.1.7 No sender specified'],
    ['5.6.0 No message body specified'],
    ["5.6.0 Google won't let us send content of type 'message/rfc822'"],
    ['2.0.0 sent', '5.1.3 No destination addresses specified', '2.0.0 sent'],
    ['2.0.0 sent', '5.1.3 the address has no @', '2.0.0 sent'],
    ['5.1.3 the address is not UTF-8'],
  ]);
  assert.doesNotMatch(server.posts.join(), /no address|\xe9/);
});

for (const [name, fault, says] of [
  ['a reset', 'reset', /post to the proxy failed/],
  ['an empty 500', [500], /answered 500/],
  ['a 400 that is none of its own', [400, 'Malformed'], /answered 400 "Malformed"/],
  ["a load balancer's 400", [400, '<html>No sender</html>'], /answered 400(?! ")/],
] as [string, Fault, RegExp][]) {
  test(`${name} at one recipient: that one waits, and who was sent is not sent again (law 5)`, async (t) => {
    const { road, server, env } = await start(t);
    server.fault = (to) => (to === 'b@example.org' ? fault : undefined);
    const recipients = ['a@example.org', 'b@example.org', 'c@example.org'];
    handIn(road.spool, [{ recipients, bytes: `${from}\nHello\n` }]);
    const drain = road.drain(args, env);
    const [line] = await drain.says(/^.*deferred.*$/m);
    assert.match(line, says);
    await drain.stop();
    assert.deepEqual(
      server.sent.map(({ to }) => to),
      ['a@example.org'],
    );
    assert.ok(server.gets > 0, 'a GET has shown that the server is there');

    server.fault = () => undefined;
    await road.queue('retry', '--all');
    const { code, stderr } = await road.drain(['--once', ...args], env).ended;
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      server.sent.map(({ to }) => to),
      recipients,
    );
    assert.equal(lookInto(road.spool).counters.sent, 1);
  });
}

test('a wrong key is a fault of the endpoint: the queue waits, the operator is told (law 5)', async (t) => {
  const { road, server, env } = await start(t);
  handIn(road.spool, [{ bytes: `${from}\nHello\n` }]);
  const wrong = { ...env, GMAIL_SECRET_KEY: 'another key' };
  const drain = road.drain(args, wrong);
  await drain.says(/try 1 failed/);
  await drain.stop();
  assert.match(
    drain.stderr,
    /answered 400 "Signature doesn't match".*attention: .*GMAIL_SECRET_KEY/s,
  );
  assert.deepEqual([server.posts, server.sent], [[], []]);
  const [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.attempts], ['queued', 0]);
});

test('only a 204 is a yes: a 200 is not, and the operator is told (law 5)', async (t) => {
  const { road, server, env } = await start(t);
  server.fault = () => [200, 'hello'];
  handIn(road.spool, [{ bytes: `${from}\nHello\n` }]);
  const { code, stderr } = await road.drain(['--once', ...args], env).ended;
  assert.equal(code, 69);
  assert.match(stderr, /answered 200.*attention: .*--wire/s);
  assert.equal(lookInto(road.spool).counters.queued, 1);
});

test('a drain that speaks v2 to an original server loses nothing', async (t) => {
  const { road, server, env } = await start(t);
  handIn(road.spool, [{ bytes: `${from}\nHello\n` }]);
  assert.equal((await road.drain(['--once'], env).ended).code, 69);
  assert.equal((await road.drain(['--once', ...args], env).ended).code, 0);
  assert.equal(server.sent.length, 1);
});

test('a message is made ready once, and not for every recipient again', async (t) => {
  const server = await OriginalServer.start(t, 'a key');
  const connection = new Connection({ url: new URL(server.url), key: Buffer.from('a key') });
  t.after(() => connection.close());
  const message = Buffer.from(`${from}To: list@example.org\n\nHello\n`);
  let read = 0;
  const bytes = {
    *[Symbol.iterator]() {
      read += 1;
      yield message;
    },
  };
  const recipients = ['a@example.org', 'b@example.org', 'c@example.org'];
  const post = { id: 'x', envelope: { sender: '', recipients }, bytes, size: message.length };
  const { signal } = new AbortController();
  await postToAll(post, async (part) => attemptV1(connection, part, signal));
  assert.deepEqual(
    server.sent.map(({ to }) => to),
    recipients,
  );
  assert.equal(read, 1);
});

test('a header section larger than any of Exim waits alone, and is not failed (law 5)', async (t) => {
  const { road, server, env } = await start(t);
  const section = (size: number) => `${from}${'a:\n'.repeat(size / 3)}`.slice(-size);
  const [large] = handIn(road.spool, [
    { bytes: `${section(limits.headerBytes + 1)}\nHello\n` },
    { bytes: `${from}${section(limits.headerBytes - from.length)}\nHello\n` },
  ]);
  const drain = road.drain(args, env);
  const [line] = await drain.says(/^.*deferred.*$/m);
  assert.match(line, new RegExp(`^${large} .*cannot be posted: its header section is larger`));
  await drain.says(/> sent \(/);
  await drain.stop();
  assert.equal(server.posts.length, 1);
  const [message] = lookInto(road.spool).messages;
  assert.deepEqual([message?.state, message?.recipients[0]?.status], ['queued', '4.3.0']);
  assert.doesNotMatch(drain.stderr, /is down/);
});

async function start(t: test.TestContext) {
  const road = new Road(t);
  const server = await OriginalServer.start(t, road.key);
  return { road, server, env: { GMAIL_PROXY_URL: server.url } };
}
