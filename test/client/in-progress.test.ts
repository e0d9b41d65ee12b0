import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { createTransport } from 'nodemailer';
import { GmailProxy, MessageSendingFailure } from '../../src/client/gmail-proxy.ts';
import { gmail } from '../../src/client/gmail-transport.ts';
import { inCheckout, run } from '../support/program.ts';
import { ScriptedProxy, type Script } from '../support/scripted-proxy.ts';

const message = 'From: s@example.com\nTo: a@example.org, b@example.org\n\nHello\n';

async function start(t: TestContext, script: Script, timeoutMs?: number) {
  const scripted = await ScriptedProxy.start(t, 'a key', script);
  const proxy = new GmailProxy('a key', scripted.url, { timeoutMs });
  t.after(() => proxy.close());
  return { scripted, proxy };
}

/** The first answers to the post and to what asks after it; then all is sent. */
function first(...answers: Script[]): Script {
  return async (post) => {
    const answer = answers.shift();
    if (answer) await answer(post);
    else post.accept();
  };
}

const inProgress: Script = (post) => post.inProgress();
const trouble: Script = ({ response }) => void response.writeHead(502).end();
const half: Script = (post) =>
  post.answer((recipient) =>
    recipient.startsWith('a')
      ? { status: '2.0.0', reason: 'sent' }
      : { status: '4.4.0', reason: 'still at it', inProgress: true },
  );

test('what is in progress is asked for, without message bytes, until it is sent (law 13)', async (t) => {
  const { scripted, proxy } = await start(t, first(half, inProgress));
  assert.equal(await proxy.sendMail(message), true);
  assert.deepEqual(
    scripted.posts.map(({ ask, recipients, bytes }) => [ask, recipients, bytes.length > 0]),
    [
      [false, ['a@example.org', 'b@example.org'], true],
      [true, ['b@example.org'], false],
      [true, ['b@example.org'], false],
    ],
  );
  assert.equal(new Set(scripted.posts.map(({ id }) => id)).size, 1);
});

test('when the time is over the failure names who is still in progress (law 13)', async (t) => {
  const { proxy } = await start(t, inProgress, 1500);
  await assert.rejects(proxy.sendMail(message), (error) => {
    assert.ok(error instanceof MessageSendingFailure);
    assert.equal(
      error.message,
      'still being sent to <a@example.org>, <b@example.org>: 4.4.0 still at it',
    );
    assert.equal(error.permanent, false);
    assert.deepEqual(
      error.notSent.map(({ recipient, inProgress: slow }) => [recipient, slow]),
      [
        ['a@example.org', true],
        ['b@example.org', true],
      ],
    );
    return true;
  });
});

test('a proxy that gives no answer in time may have the message, and the failure says so', async (t) => {
  const { proxy } = await start(t, () => {}, 200);
  await assert.rejects(proxy.sendMail(message), {
    name: 'MessageSendingFailure',
    permanent: false,
    message:
      /^not sent to <a@example\.org>, <b@example\.org>: the proxy gave no verdict in time; it may still be sent$/,
  });
});

test('a proxy that asks for fewer posts is asked again after its time (law 13)', async (t) => {
  const { scripted, proxy } = await start(
    t,
    first((post) => post.slower(1)),
  );
  const begun = performance.now();
  assert.equal(await proxy.sendMail(message), true);
  assert.ok(performance.now() - begun >= 1000);
  assert.deepEqual(
    scripted.posts.map(({ ask, bytes }) => [ask, bytes.length > 0]),
    [
      [false, true],
      [false, true],
    ],
  );
});

test('a proxy that asks for no posts for longer than a timer of Node can wait is not posted to again at once (law 13)', async (t) => {
  const { scripted, proxy } = await start(t, (post) => post.slower(3_000_000), 500);
  await assert.rejects(proxy.sendMail(message), { permanent: false });
  assert.equal(scripted.posts.length, 1);
});

test('trouble while it is asked leaves those undecided that were in progress', async (t) => {
  const { proxy } = await start(t, first(inProgress, trouble));
  await assert.rejects(proxy.sendMail(message), {
    permanent: false,
    message:
      /^not sent to <a@example\.org>, <b@example\.org>: the proxy answered 502 \(a web server/,
  });
});

test('the nodemailer transport waits as well, and gives up after its own time (law 13)', async (t) => {
  const { scripted } = await start(t, first(inProgress));
  const mail = { from: 's@example.com', to: 'a@example.org', text: 'x' };
  const options = { secretKey: 'a key', proxyUrl: scripted.url };
  const info = await createTransport(gmail(options)).sendMail(mail);
  assert.deepEqual(info.accepted, ['a@example.org']);
  scripted.script = inProgress;
  const impatient = createTransport(gmail({ ...options, timeoutMs: 1200 }));
  await assert.rejects(impatient.sendMail(mail), /still being sent to <a@example\.org>/);
});

test('gmail waits until it is sent, or exits 75 when --timeout is over (law 13)', async (t) => {
  const { scripted } = await start(t, first(inProgress));
  const send = async (...args: string[]) =>
    run(t, process.execPath, [inCheckout('dist/bin/gmail.js'), ...args], {
      input: message,
      env: { GMAIL_PROXY_URL: scripted.url, GMAIL_SECRET_KEY: 'a key' },
    });
  assert.equal((await send()).code, 0);
  scripted.script = inProgress;
  const { code, stderr } = await send('--timeout', '1.5s');
  assert.equal(code, 75);
  assert.match(stderr, /^gmail: still being sent to <a@example\.org>, <b@example\.org>: /);
  for (const timeout of ['0s', '2d', 'x']) {
    assert.equal((await send('--timeout', timeout)).code, 64, timeout);
  }
});
