import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { createTransport, type Transporter } from 'nodemailer';
import { MessageSendingFailure } from '../../src/client/gmail-proxy.ts';
import { gmail } from '../../src/client/gmail-transport.ts';
import { ScriptedProxy, type Script } from '../support/scripted-proxy.ts';

const mail = { from: 'S <s@example.com>', to: 'R <r@example.org>', subject: 'x', text: 'Hello' };

test('the envelope has everybody, the message no Bcc', async (t) => {
  const { transport, scripted } = await start(t);
  const info = await transport.sendMail({
    ...mail,
    cc: ['c@example.org', 'r@example.org'],
    bcc: 'blind@example.org',
  });
  const recipients = ['r@example.org', 'c@example.org', 'blind@example.org'];
  const [post] = scripted.posts;
  assert.deepEqual([post?.sender, post?.recipients], ['s@example.com', recipients]);
  const text = post?.bytes.toString() ?? '';
  assert.match(text, /^To: R <r@example.org>\r\n/m);
  assert.doesNotMatch(text, /blind/);
  assert.deepEqual(info.accepted, recipients);
  assert.deepEqual(info.envelope, { from: 's@example.com', to: recipients });
  assert.ok(text.includes(`Message-ID: ${info.messageId}\r\n`));
});

test('a recipient without an @ is not left out without a word', async (t) => {
  const { transport, scripted } = await start(t);
  await transport.sendMail({
    ...mail,
    to: 'root, r@example.org',
    cc: ['"Some Body"', { name: 'C', address: 'c@bücher.example' }],
    bcc: 'nobody',
  });
  assert.deepEqual(scripted.posts[0]?.recipients, [
    'r@example.org',
    'c@xn--bcher-kva.example',
    'root',
    'Some Body',
    'nobody',
  ]);
  await transport.sendMail({ ...mail, to: 'root' });
  assert.deepEqual(scripted.posts[1]?.recipients, ['root']);
});

test('a sender without an @ is refused, also when there is an address for replies', async (t) => {
  const { transport, scripted } = await start(t);
  await assert.rejects(
    transport.sendMail({ ...mail, from: 'root', replyTo: 'a@example.com' }),
    /the message has no From/,
  );
  assert.equal(scripted.posts.length, 0);
});

test('an envelope that is given counts, and the null sender is one', async (t) => {
  const { transport, scripted } = await start(t);
  await transport.sendMail({ ...mail, envelope: { from: 'b@example.com', to: 'x@example.net' } });
  await transport.sendMail({ ...mail, envelope: { from: '', to: 'x@example.net' } });
  assert.deepEqual(
    scripted.posts.map(({ sender, recipients }) => [sender, recipients]),
    [
      ['b@example.com', ['x@example.net']],
      ['', ['x@example.net']],
    ],
  );
  // But a message of nobody's is not one of the null sender.
  const { from: _, ...fromNobody } = mail;
  await assert.rejects(transport.sendMail(fromNobody), /the message has no From/);
  assert.equal(scripted.posts.length, 2);
});

test('a raw message keeps its bytes but for the Bcc, with an envelope or without', async (t) => {
  const { transport, scripted } = await start(t);
  const raw = 'From: s@example.com\r\nTo: a@example.org\r\nBcc: b@example.org\r\n\r\nBcc: \r\n';
  const info = await transport.sendMail({ raw });
  assert.deepEqual(info.accepted, ['a@example.org', 'b@example.org']);
  await transport.sendMail({ raw, envelope: { from: 'x@example.com', to: 'y@example.net' } });
  assert.deepEqual(
    scripted.posts.map(({ sender, recipients }) => [sender, recipients]),
    [
      ['s@example.com', ['a@example.org', 'b@example.org']],
      ['x@example.com', ['y@example.net']],
    ],
  );
  for (const { bytes } of scripted.posts) {
    assert.equal(bytes.toString(), raw.replace('Bcc: b@example.org\r\n', ''));
  }
});

test('what is not sent is a MessageSendingFailure, by promise and by callback', async (t) => {
  const { transport } = await start(t, (post) =>
    post.answer(() => ({ status: '5.1.1', reason: 'nobody' })),
  );
  const byPromise = await transport.sendMail(mail).catch((error: unknown) => error);
  const byCallback = await new Promise((resolve) => transport.sendMail(mail, resolve));
  for (const error of [byPromise, byCallback]) {
    assert.ok(error instanceof MessageSendingFailure, String(error));
    assert.deepEqual([error.status, error.permanent], ['5.1.1', true]);
  }
});

test('connections are kept alive, and close ends them', async (t) => {
  const { transport, scripted } = await start(t);
  for (let nth = 0; nth < 3; nth += 1) await transport.sendMail(mail);
  const sockets = new Set(scripted.posts.map(({ request }) => request.socket));
  assert.equal(sockets.size, 1);
  const [socket] = sockets;
  const closed = new Promise((resolve) => socket?.once('close', resolve));
  transport.close();
  await closed;
});

test('verify posts a probe: true, or why not, by promise and by callback', async (t) => {
  const { transport, scripted } = await start(t);
  assert.equal(await transport.verify(), true);
  assert.deepEqual(scripted.posts[0]?.recipients, []);
  scripted.script = ({ response }) => void response.writeHead(404).end();
  await assert.rejects(transport.verify(), /answered 404/);
  const error = await new Promise<Error | null>((resolve) => transport.verify(resolve));
  assert.match(String(error), /answered 404/);
});

async function start(
  t: TestContext,
  script: Script = (post) => post.accept(),
): Promise<{ transport: Transporter; scripted: ScriptedProxy }> {
  const scripted = await ScriptedProxy.start(t, 'a secret key', script);
  const options = { secretKey: scripted.key, proxyUrl: scripted.url };
  const transport = createTransport(gmail(options));
  t.after(() => transport.close());
  return { transport, scripted };
}
