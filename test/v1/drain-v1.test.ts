import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/host/clock.ts';
import { limits } from '../../src/limits.ts';
import { attemptV1 } from '../../src/wire/v1/attempt-v1.ts';
import { Connection } from '../../src/wire/connection.ts';
import { postUntilSettled } from '../../src/wire/post-until-settled.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { MovedTime } from '../support/moved-time.ts';
import { needs } from '../support/needs.ts';
import { OriginalServer, type Fault } from '../support/original-server.ts';
import { Road } from '../support/road.ts';
import { until } from '../support/until.ts';

const from = 'From: Some Body <s@example.com>\n';
const args = ['--wire', 'v1'];

test('each recipient has a post of which it is the first To; Bcc and Resent-* are removed, other bytes stay', async (t) => {
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

test('a recipient that a v1 server refuses for good fails at once, alone, with its text (law 5)', async (t) => {
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
  ['a 400 with another text', [400, 'Malformed'], /answered 400 "Malformed"/],
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

test('a wrong key is trouble of the endpoint: the queue waits, and the operator is told (law 5)', async (t) => {
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

test(
  'after a 2xx that is not 204 the message is held and not posted again; an operator decides (law 5)',
  needs('faketime'),
  async (t) => {
    const { road, server, env } = await start(t);
    server.fault = (to) => (to === 'b@example.org' ? [200, 'ok'] : undefined);
    const bytes = `${from}\nHello\n`;
    const recipients = ['a@example.org', 'b@example.org', 'c@example.org'];
    const [id = ''] = handIn(road.spool, [{ recipients, bytes }]);
    const time = new MovedTime(road);
    const drain = road.drain(args, { ...env, ...time.env });
    const [line] = await drain.says(/^attention: .* may have sent .*$/m);
    assert.ok(line.includes(id), line);
    assert.match(
      line,
      /answered 200 to the post for <b@example\.org>, .* --v1-success 200; .* queue delete; if not, queue release/,
    );
    await drain.says(/is down: .*answered 200/);
    await drain.says(/^attention: .* --v1-success 200; else check .* --wire/m);
    for (let days = 0; days < 3; days += 1) {
      time.move(24 * 3_600_000);
      const known = server.sent.length;
      handIn(road.spool, [{ bytes, recipients: [`other-${days}@example.org`] }]);
      await until(
        () => server.sent.length > known,
        () => drain.stderr,
      );
    }
    await drain.stop();
    const others = [0, 1, 2].map((days) => `other-${days}@example.org`);
    assert.deepEqual(server.posts, ['a@example.org', 'b@example.org', ...others]);
    const [message] = lookInto(road.spool).messages;
    assert.deepEqual(
      [message?.state, ...(message?.recipients.map(({ state }) => state) ?? [])],
      ['held', 'sent', 'pending', 'pending'],
    );
    const { stdout } = await road.queue('explain', id);
    assert.match(stdout.toString(), /nobody knows whether it was sent: the server answered 200/);

    await road.queue('release', id);
    const again = await road.drain(['--once', ...args, '--v1-success', '200'], env).ended;
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(server.posts.slice(5), ['b@example.org', 'c@example.org']);
    assert.equal(lookInto(road.spool).counters.sent, 4);
  },
);

test('a server that answers 202 to all gets every message once, and one in a run (law 5)', async (t) => {
  const { road, server, env } = await start(t);
  server.fault = () => [202, '<html>please log in</html>'];
  const recipients = ['a@example.org', 'b@example.org', 'c@example.org'];
  handIn(
    road.spool,
    recipients.map((recipient) => ({ recipients: [recipient], bytes: `${from}\nHello\n` })),
  );
  const codes = [];
  for (let run = 1; run <= 4; run += 1) {
    codes.push((await road.drain(['--once', ...args], env).ended).code);
    assert.equal(server.posts.length, Math.min(run, 3));
  }
  assert.deepEqual(codes, [69, 69, 69, 0]);
  assert.deepEqual(server.posts.toSorted(), recipients);
  assert.equal(lookInto(road.spool).counters.held, 3);
});

test('--v1-success makes another 2xx a yes, and 204 stays one', async (t) => {
  const { road, server, env } = await start(t);
  server.fault = (to) => (to === 'a@example.org' ? [200, 'sent'] : undefined);
  const recipients = ['a@example.org', 'b@example.org'];
  handIn(road.spool, [{ recipients, bytes: `${from}\nHello\n` }]);
  const setting = { ...env, APPENGINE_MAILER_V1_SUCCESS: '200' };
  assert.equal((await road.drain(['--once', ...args], setting).ended).code, 0);
  assert.deepEqual(server.posts, recipients);
  assert.equal(lookInto(road.spool).counters.sent, 1);
  for (const status of ['404', '20', 'yes', '200.5']) {
    const refused = await road.drain(['--once', ...args, '--v1-success', status], env).ended;
    assert.equal(refused.code, 64, refused.stderr);
    assert.match(refused.stderr, /--v1-success takes a status from 200 to 299/);
  }
});

test('a drain that speaks v2 to a v1 server loses nothing', async (t) => {
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
  await postUntilSettled(
    post,
    async (part) => attemptV1(connection, part, signal),
    systemClock,
    signal,
  );
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
