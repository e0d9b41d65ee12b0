import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import {
  GmailProxy,
  MessageSendingFailure,
  type Envelope,
  type GmailProxyOptions,
} from '../../src/client/gmail-proxy.ts';
import { limits } from '../../src/limits.ts';
import { Road } from '../support/road.ts';
import { ScriptedProxy, type Script } from '../support/scripted-proxy.ts';

const message = 'From: s@example.com\nTo: r@example.org\nSubject: x\n\nHello\n';

test('a message goes through a real proxy, envelope from the headers, without its Bcc', async (t) => {
  const road = new Road(t);
  await road.proxy(['--max-recipients', '2']);
  const proxy = new GmailProxy(road.key, `http://${road.address}/`);
  t.after(() => proxy.close());
  const headers = Buffer.from(
    'From: "Body, Some" <s@example.com>, other@example.com\r\nTo: One <a@example.org>,\r\n ' +
      'Friends: b@example.org, "c, d" <c@example.org>;\r\nSubject: \xff\r\n',
    'latin1',
  );
  const blind = Buffer.from('Bcc: d@example.org,\r\n A <a@example.org>\r\nResent-Bcc: x@x.org\r\n');
  const rest = Buffer.from('CC: e@example.org\r\n\r\nBcc: \0 \x80', 'latin1');
  assert.equal(await proxy.sendMail(Buffer.concat([headers, blind, rest])), true);

  const delivered = road.deliveries();
  const recipients = ['a', 'b', 'c', 'd', 'e'].map((name) => `${name}@example.org`);
  assert.deepEqual(delivered.flatMap((each) => each.recipients).toSorted(), recipients);
  assert.equal(new Set(delivered.map(({ id }) => id)).size, 1, 'one message, in parts');
  for (const { sender, bytes } of delivered) {
    assert.equal(sender, 's@example.com');
    assert.deepEqual(bytes, Buffer.concat([headers, rest]));
  }
});

test('an envelope that is given goes before the headers, and the null sender is one', async (t) => {
  const { proxy, scripted } = await start(t);
  await proxy.sendMail(message, { sender: '' });
  await proxy.sendMail(message, {
    recipients: ['x@example.net', 'y@example.net', 'x@example.net'],
  });
  assert.deepEqual(
    scripted.posts.map(({ sender, recipients, fixSender }) => [sender, recipients, fixSender]),
    [
      ['', ['r@example.org'], false],
      ['s@example.com', ['x@example.net', 'y@example.net'], false],
    ],
  );
});

test('fixSender is told to the proxy', async (t) => {
  const { proxy, scripted } = await start(t, undefined, { fixSender: true });
  await proxy.sendMail(message);
  assert.equal(scripted.posts[0]?.fixSender, true);
});

test('fixSender gives a sender who may not send the default one, by the policy of a real proxy', async (t) => {
  const road = new Road(t);
  const rules = ['--allow-sender', '@example.net', '--default-sender', 'noreply@example.net'];
  await road.proxy(rules);
  const url = `http://${road.address}/`;
  const plain = new GmailProxy(road.key, url);
  const fixing = new GmailProxy(road.key, url, { fixSender: true });
  t.after(async () => Promise.all([plain.close(), fixing.close()]));
  const refused = await failureOf(plain.sendMail(message));
  assert.deepEqual([refused.status, refused.permanent], ['5.7.1', true]);
  assert.equal(await fixing.sendMail(message), true);
  const [delivered] = road.deliveries();
  assert.equal(delivered?.sender, 'noreply@example.net');
  assert.match(String(delivered.bytes), /^From: noreply@example.net\nReply-To: s@example.com\n/);
});

test('mixed results are a failure that names who was refused and who was sent', async (t) => {
  const { proxy } = await start(t, (post) =>
    post.answer((recipient) => {
      const status = { a: '2.0.0', b: '5.1.1', c: '4.2.2' }[recipient[0] ?? ''] ?? '2.0.0';
      return { status, reason: `told ${recipient}` };
    }),
  );
  const both = await failureOf(proxy.sendMail(message, to('a', 'b', 'c')));
  assert.equal(
    both.message,
    'not sent to <b@example.org>: 5.1.1 told b@example.org; ' +
      'not sent to <c@example.org>: 4.2.2 told c@example.org; sent to <a@example.org>',
  );
  assert.deepEqual(
    [both.status, both.reason, both.permanent],
    ['4.2.2', 'told c@example.org', false],
  );
  assert.deepEqual(both.sent, ['a@example.org']);
  assert.deepEqual(
    both.notSent.map(({ recipient }) => recipient),
    to('b', 'c').recipients,
  );
  const refused = await failureOf(proxy.sendMail(message, to('a', 'b')));
  assert.deepEqual([refused.status, refused.permanent], ['5.1.1', true]);
});

test('a proxy that cannot be reached, or takes no mail, is not a refusal (law 5)', async (t) => {
  const { proxy } = await start(t, ({ response }) => void response.writeHead(401).end());
  const wrongKey = await failureOf(proxy.sendMail(message));
  assert.deepEqual([wrongKey.status, wrongKey.permanent], [undefined, false]);
  assert.match(wrongKey.reason, /answered 401; .*GMAIL_SECRET_KEY/);
  await assert.rejects(proxy.verify(), MessageSendingFailure);

  const away = new GmailProxy('key', 'http://127.0.0.1:1/');
  const unreachable = await failureOf(away.sendMail(message));
  assert.deepEqual([unreachable.status, unreachable.permanent], [undefined, false]);
  assert.match(unreachable.message, /^not sent to <r@example.org>: .*ECONNREFUSED/);
});

test('what was sent before the trouble is named', async (t) => {
  const { proxy, scripted } = await start(t, (post) => {
    if (scripted.posts.length > 1) post.request.socket.resetAndDestroy();
    else {
      post.answer((recipient) => ({
        status: recipient.startsWith('a') ? '2.0.0' : '4.5.3',
        reason: '',
      }));
    }
  });
  const failure = await failureOf(
    proxy.sendMail(message, { recipients: ['a@example.org', 'b@example.org'] }),
  );
  assert.deepEqual(failure.sent, ['a@example.org']);
  assert.deepEqual(
    failure.notSent.map(({ recipient, status }) => [recipient, status]),
    [['b@example.org', undefined]],
  );
});

test("a clock that is off is made up for by the proxy's", async (t) => {
  const { proxy, scripted } = await start(t, (post) => {
    if (scripted.posts.length > 1) return post.accept();
    post.signed(401, Buffer.from('clock\n'), {
      timestamp: Math.floor(Date.now() / 1000) + 5000,
    });
  });
  assert.equal(await proxy.sendMail(message), true);
  const [first, second] = scripted.posts;
  assert.ok(Number(second?.timestamp) - Number(first?.timestamp) > 4900);
  assert.equal(first?.id, second?.id);
});

test('from nobody or for nobody is refused before anything is posted', async (t) => {
  const { proxy, scripted } = await start(t);
  const nobody = await failureOf(proxy.sendMail('From: s@example.com\nTo: x:;\n\nHello\n'));
  assert.deepEqual([nobody.status, nobody.permanent], ['5.1.3', true]);
  const anonymous = await failureOf(proxy.sendMail('To: r@example.org\n\nHello\n'));
  assert.deepEqual([anonymous.status, anonymous.permanent], ['5.1.7', true]);
  assert.equal(scripted.posts.length, 0);
});

test('what is too large, or for too many, is refused for good before anything is posted', async (t) => {
  const { proxy, scripted } = await start(t);
  const large = await failureOf(proxy.sendMail(`${message}${'x'.repeat(limits.messageBytes)}`));
  assert.deepEqual([large.status, large.permanent], ['5.3.4', true]);
  const names = Array.from({ length: limits.handOverRecipients + 1 }, (_, nth) => `n${nth}`);
  const many = await failureOf(proxy.sendMail(message, to(...names)));
  assert.deepEqual([many.status, many.permanent], ['5.5.3', true]);
  assert.equal(scripted.posts.length, 0);
});

test('an invalid envelope throws a TypeError', async (t) => {
  const { proxy, scripted } = await start(t, undefined, { failSilently: true });
  for (const [envelope, sentence] of [
    [{ recipients: 'b@example.org' }, 'recipients is not an array of strings'],
    [{ recipients: [5] }, 'recipients is not an array of strings'],
    [{ sender: 5 }, 'sender is not a string'],
  ] as const) {
    const sending = proxy.sendMail(message, envelope as unknown as Partial<Envelope>);
    await assert.rejects(sending, new TypeError(sentence));
  }
  assert.equal(scripted.posts.length, 0);
});

test('the message of a failure is one printable line', () => {
  const notSent = { recipient: 'a\r\n@b', status: '5.1.1', reason: 'no\x1b[31m\nsuch' };
  const { message: text, reason } = new MessageSendingFailure([notSent]);
  assert.equal(text, 'not sent to <a\\x0d\\x0a@b>: 5.1.1 no\\x1b[31m\\x0asuch');
  assert.equal(reason, notSent.reason);
});

test('failSilently returns false for what is not sent, and still throws defects', async (t) => {
  const { proxy } = await start(t, ({ response }) => void response.writeHead(503).end(), {
    failSilently: true,
  });
  assert.equal(await proxy.sendMail(message), false);
  assert.equal(await proxy.sendMail('no headers'), false);
  await assert.rejects(proxy.sendMail(undefined as unknown as string), TypeError);
});

test('key and URL come from the settings, and their absence is told at once', async (t) => {
  const { scripted } = await start(t);
  assert.throws(() => new GmailProxy(undefined, scripted.url), /GMAIL_SECRET_KEY is not set/);
  assert.throws(() => new GmailProxy('key'), /GMAIL_PROXY_URL is not set/);
  assert.throws(() => new GmailProxy('key', 'http://proxy.example.org/'), /unencrypted/);
  process.env['GMAIL_SECRET_KEY'] = scripted.key;
  process.env['GMAIL_PROXY_URL'] = scripted.url;
  t.after(() => {
    delete process.env['GMAIL_SECRET_KEY'];
    delete process.env['GMAIL_PROXY_URL'];
  });
  assert.equal(await new GmailProxy().sendMail(message), true);
});

test('a key that was read with its line end is the key', async (t) => {
  const { scripted } = await start(t);
  for (const key of [`${scripted.key}\n`, Buffer.from(` ${scripted.key}\r\n`)]) {
    const proxy = new GmailProxy(key, scripted.url);
    t.after(() => proxy.close());
    assert.equal(await proxy.sendMail(message), true);
  }
  assert.throws(() => new GmailProxy('\n', scripted.url), /GMAIL_SECRET_KEY is empty/);
});

function to(...names: string[]) {
  return { recipients: names.map((name) => `${name}@example.org`) };
}

async function start(
  t: TestContext,
  script: Script = (post) => post.accept(),
  options: GmailProxyOptions = {},
): Promise<{ proxy: GmailProxy; scripted: ScriptedProxy }> {
  const scripted = await ScriptedProxy.start(t, 'a secret key', script);
  const proxy = new GmailProxy(scripted.key, scripted.url, options);
  t.after(() => proxy.close());
  return { proxy, scripted };
}

async function failureOf(sending: Promise<boolean>): Promise<MessageSendingFailure> {
  const error = await sending.then(
    () => assert.fail('it was sent'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof MessageSendingFailure, String(error));
  return error;
}
