import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { limits } from '../../src/limits.ts';
import { BackendUnavailableError } from '../../src/proxy/backends/backend.ts';
import { signV1 } from '../../src/wire/v1/sign-v1.ts';
import { everyone } from '../support/controlled-deliverer.ts';
import { needs } from '../support/needs.ts';
import { run } from '../support/program.ts';
import { ScriptedSmtp } from '../support/scripted-smtp.ts';
import { LocalProxy } from '../support/local-proxy.ts';
import { formPost } from '../support/form-post.ts';
import { exchange } from '../support/signed-post.ts';
import { Road } from '../support/road.ts';

const TO_YOU = 'From: me@example.com\nTo: you@example.org\n';

test('a post of a v1 client is answered 204 without a body, and arrives octet by octet, without Bcc', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const charsets = [
    'Subject: caf\xc3\xa9\n\nutf-8 \xe2\x82\xac\n', // As UTF-8.
    'Subject: caf\xe9\r\n\r\nlatin1 \xa4\r\n',
    '\nUTF-16 \xff\xfe\0a\0\n\n. \r bare \0 + & = %',
    '\r\n', // An empty body is mail.
  ];
  for (const rest of charsets) {
    const msg = Buffer.from(TO_YOU + rest, 'latin1');
    const answer = await formPost(road.address, { key: road.key, msg });
    assert.deepEqual([answer.status, answer.body.toString()], [204, '']);
    assert.equal(answer.headers['content-length'], undefined, 'RFC 9110 8.6');
    const same = road.deliveries().filter(({ bytes }) => bytes.equals(msg));
    assert.deepEqual(
      same.map(({ sender, recipients }) => ({ sender, recipients })),
      [{ sender: 'me@example.com', recipients: ['you@example.org'] }],
    );
  }
});

test('everybody in every To, Cc and Bcc is a recipient, once; Bcc and Resent-Bcc are removed', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const kept = [
    'Received: from x\r\n',
    'To: A <a@example.org>, "B, C" <b@example.org>\r\n',
    'From: First <first@example.com>, second@example.com\r\n',
    'to: friends: c@example.org,\r\n d@example.org;, A again <a@EXAMPLE.org>\r\n',
    'Cc : (a comment) e@example.org\r\n',
    'Resent-To: nobody@example.org\r\n',
  ];
  const blind = [
    'Bcc: f@example.org,\r\n\t"g g"@example.org\r\n',
    'BCC: undisclosed-recipients:;\r\n',
    'Resent-Bcc: h@example.org\r\n',
  ];
  const [first = '', ...others] = kept;
  const body = '\r\nBcc: in the body it stays\r\n';
  const msg = [first, blind[0], ...others, ...blind.slice(1), body].join('');
  assert.equal((await formPost(road.address, { key: road.key, msg })).status, 204);
  const [delivered] = road.deliveries();
  assert.equal(delivered?.bytes.toString(), kept.join('') + body);
  assert.equal(delivered?.sender, 'first@example.com');
  const people = ['a', 'b', 'c', 'd', 'e', 'f', '"g g"'].map((name) => `${name}@example.org`);
  assert.deepEqual(delivered?.recipients.toSorted(), people.toSorted());

  const onlyBcc = 'From: me@example.com\nBcc: you@example.org\n\nx\n';
  assert.equal((await formPost(road.address, { key: road.key, msg: onlyBcc })).status, 204);
});

test('a Bcc that only SMTP would see, behind a CR alone, does not get there', async (t) => {
  const road = new Road(t);
  const smtp = await ScriptedSmtp.start(t);
  const relay = ['--smtp-host', '127.0.0.1', '--smtp-port', String(smtp.port)];
  await road.proxy(['--backend', 'smtp', '--smtp-security', 'none', ...relay]);
  const msg = `${TO_YOU}X: y\rBcc: secret@example.org\n\nHello\n`;
  assert.equal((await formPost(road.address, { key: road.key, msg })).status, 204);
  const [message] = smtp.messages;
  assert.equal(message?.bytes.toString(), `${TO_YOU}X: y\n\nHello\n`.replaceAll('\n', '\r\n'));
  assert.equal(message.envelope.length, 2);
});

test('the From line of a mailbox is removed, and its address used only without a From', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const line = 'From box@example.com Thu Jan  1 00:00:00 1970\r\n';
  const rest = 'To: you@example.org\r\n\r\nx\r\n';
  const from = 'From: me@example.com\r\n';
  const senders: Record<string, string> = {
    [line + from + rest]: 'me@example.com',
    [line + rest]: 'box@example.com',
    [`From : me@example.com\r\n${rest}`]: 'me@example.com',
  };
  for (const [msg, sender] of Object.entries(senders)) {
    assert.equal((await formPost(road.address, { key: road.key, msg })).status, 204);
    const delivered = road
      .deliveries()
      .filter(({ bytes }) => bytes.toString() === msg.replace(line, ''));
    assert.deepEqual(
      delivered.map((each) => each.sender),
      [sender],
    );
  }
});

test('a header as large as Exim takes is taken (law 5)', async (t) => {
  const { address, key, controlled } = await LocalProxy.start(t);
  const references = `References:${' <id@example.com>\n'.repeat(58_000)}`;
  const msg = `From: me@example.com\nTo: you@example.org\n${references}\nx\n`;
  assert.equal((await formPost(address, { key, msg })).status, 204);
  assert.equal(controlled.calls[0]?.bytes.toString(), msg);
});

test('a wrong form or mail is answered 400, with the text of the v1 server', async (t) => {
  const road = new Road(t);
  const { key } = road;
  await road.proxy(['--max-recipients', '2']);
  const none = Buffer.alloc(0);
  const wrong = "Signature doesn't match";
  const many = 'From: me@example.com\nTo: a@b, c@d\nBcc: e@f\n\nx\n';
  const header = `X: ${'x'.repeat(limits.headerBytes)}\n`;
  const cases: [text: string | RegExp, post: Omit<Parameters<typeof formPost>[1], 'key'>][] = [
    ['No message found', { body: '' }],
    ['No message found', { body: 'signature=abc' }],
    ['No message found', { msg: '' }],
    ['No message found', { body: 'msg', headers: { 'content-type': 'text/html' } }],
    ['No signature found', { body: 'msg=x' }],
    ['No signature found', { fields: { signature: none } }],
    [wrong, { fields: { signature: 'abc' } }],
    [wrong, { fields: { signature: '\xff\0' } }],
    [wrong, { body: 'msg=x&signature=x&msg=y' }],
    [/^a % in the form is not followed by two hex digits$/, { body: 'msg=%4' }],
    [
      /^the form is malformed: /,
      { headers: { 'content-type': 'multipart/form-data; boundary=x' } },
    ],
    ['No sender specified', { msg: 'To: you@example.org\n\nx\n' }],
    ['No sender specified', { msg: 'From:\nTo: you@example.org\n\nx\n' }],
    ['No destination addresses specified', { msg: 'From: me@example.com\n\nx\n' }],
    ['No destination addresses specified', { msg: 'From: me@example.com\nTo: nobody:;\n\nx\n' }],
    [
      "'b@exa mple.org' is no address",
      { msg: 'From: me@a.example\nTo: a@b.example, b@exa mple.org\n\nx\n' },
    ],
    ['there are more than 2 recipients', { msg: many }],
    [/^the header section is larger than/, { msg: `${TO_YOU}${header}\nx\n` }],
    [
      /^the local part of the address is not valid \(<a b>\)|no @ \(<root>\)$/,
      { msg: 'From: me@example.com\nTo: root\n\nx\n' },
    ],
    [
      /^Unauthorized message sender 'root': the address has no @/,
      { msg: 'From: root\nTo: you@example.org\n\nx\n' },
    ],
  ];
  for (const [text, post] of cases) {
    const answer = await formPost(road.address, { key, ...post });
    const said = answer.body.toString();
    assert.equal(answer.status, 400, said);
    if (typeof text === 'string') assert.equal(said, text);
    else assert.match(said, text);
    assert.match(answer.headers['content-type'] ?? '', /^text\/plain/);
  }
  assert.equal((await formPost(road.address, { key: 'another' })).body.toString(), wrong);
  assert.deepEqual(readdirSync(road.delivered), []);
});

test('204 only when every recipient was sent; else 500 for later, 400 for never, by name', async (t) => {
  const local = await LocalProxy.start(t);
  const { key, controlled } = local;
  const msg = 'From: me@example.com\nTo: a@b, c@d, no address\n\nx\n';
  const statuses: Record<string, string> = {};
  controlled.answer = ({ recipients }) =>
    Promise.resolve(
      recipients.map((recipient) => ({
        recipient,
        status: statuses[recipient] ?? '2.0.0',
        reason: `reason\r\nof ${recipient}`,
      })),
    );
  const post = async (text: string) => {
    const { status, body } = await formPost(local.address, { key, msg: text });
    return [status, body.toString()];
  };
  const valid = msg.replace(', no address', '');
  assert.deepEqual(await post(valid), [204, '']);
  assert.deepEqual(await post(msg), [
    400,
    'the address has no @ (<no address>); sent to the other recipients',
  ]);
  statuses['c@d'] = '5.1.1';
  const refused = 'reason\\x0d\\x0aof c@d (<c@d>); sent to the other recipients';
  assert.deepEqual(await post(valid), [400, refused]);
  statuses['a@b'] = '4.2.2';
  const both = 'reason\\x0d\\x0aof a@b (<a@b>); reason\\x0d\\x0aof c@d (<c@d>)';
  assert.deepEqual(await post(valid), [500, both]);
  controlled.answer = () => Promise.reject(new Error('gone away'));
  assert.deepEqual(await post(valid), [500, 'gone away (<a@b>, <c@d>)']);
});

test('recipients that are too many for the relay (4.5.3) are sent again at once, and nobody twice', async (t) => {
  const local = await LocalProxy.start(t);
  const { key, controlled } = local;
  const people = ['a@b', 'c@d', 'e@f', 'g@h', 'i@j'];
  const msg = `From: me@example.com\nTo: ${people.join()}\n\nx\n`;
  const post = async () => {
    const { status, body } = await formPost(local.address, { key, msg });
    return [status, body.toString()];
  };
  const atMost = (count: number) => {
    controlled.calls.length = 0;
    controlled.answer = ({ recipients }) =>
      Promise.resolve(
        recipients.map((recipient, at) => ({
          recipient,
          status: at < count ? '2.0.0' : '4.5.3',
          reason: 'too many',
        })),
      );
  };
  atMost(2);
  assert.deepEqual(await post(), [204, '']);
  assert.deepEqual(
    controlled.calls.map(({ recipients }) => recipients),
    [people, people.slice(2), people.slice(4)],
  );
  assert.equal(new Set(controlled.calls.map(({ id }) => id)).size, 1, 'one message');

  atMost(0);
  assert.equal((await post())[0], 500);
  assert.equal(controlled.calls.length, 1, 'no progress');

  atMost(2);
  const { answer } = controlled;
  controlled.answer = async (delivery) => {
    if (controlled.calls.length > 1) throw new BackendUnavailableError('it went away');
    return answer(delivery);
  };
  const rest = 'it went away (<e@f>, <g@h>, <i@j>); sent to the other recipients';
  assert.deepEqual(await post(), [500, rest]);
});

test('a post waits for a slow backend for 570 s; then it is 500, and may still be sent (law 13)', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const now = performance.now();
  t.mock.method(performance, 'now', () => now); // A busy machine would use up some of the 570 s.
  const local = await LocalProxy.start(t);
  const backend = new EventEmitter();
  const asked = once(backend, 'asked');
  local.controlled.answer = async (delivery) => {
    backend.emit('asked');
    await once(backend, 'answer');
    return everyone(delivery, '2.0.0');
  };
  let isAnswered = false;
  const posted = formPost(local.address, { key: local.key }).finally(() => (isAnswered = true));
  await asked;
  t.mock.timers.tick(limits.answerV1Ms - 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isAnswered, false);
  t.mock.timers.tick(1);
  const { status, body } = await posted;
  assert.equal(status, 500);
  assert.match(body.toString(), /^still being sent, and posting it again would send it twice \(</);
  backend.emit('answer');
  await local.controlled.deliverer.settled();
  assert.deepEqual(
    local.controlled.rows('recipient').map(({ state }) => state),
    ['sent'],
  );
});

test('every post of HTTP v1 is a message of its own', async (t) => {
  const local = await LocalProxy.start(t);
  for (const _ of [1, 2]) {
    assert.equal((await formPost(local.address, { key: local.key })).status, 204);
  }
  const ids = local.controlled.calls.map(({ id }) => id);
  assert.equal(new Set(ids).size, 2);
  assert.match(ids.join(' '), /^[0-9a-f]{32} [0-9a-f]{32}$/);
});

test('a ledger that cannot be written is 500, plain', async (t) => {
  const local = await LocalProxy.start(t);
  local.controlled.ledger.close();
  const answer = await formPost(local.address, { key: local.key });
  assert.equal(answer.status, 500);
  assert.match(answer.body.toString(), /^the ledger cannot be written: [^\n]*$/);
});

test('a method that is not understood is 405 and says which are, also one of nobody', async (t) => {
  const local = await LocalProxy.start(t);
  for (const method of ['PUT', 'PROPFIND']) {
    const { status, headers } = await exchange(local.address, { method });
    assert.deepEqual([status, headers['allow']], [405, 'GET, HEAD, POST'], method);
  }
});

test('a form of curl -F, in 8 bit, is a form as well', needs('curl'), async (t) => {
  const road = new Road(t);
  await road.proxy();
  const message = Buffer.from(
    'From: me@example.com\nTo: you@example.org\n\nCaf\xe9 \x00\r\n',
    'latin1',
  );
  const file = join(road.folder, 'message.eml');
  writeFileSync(file, message);
  const signature = signV1(Buffer.from(road.key), message);
  const options = ['-sS', '-o', '/dev/null', '-w', '%{http_code}'];
  for (const msg of [
    `msg=<${file}`,
    `msg=@${file}`,
    `msg=<${file};type=text/plain; charset=utf-8`,
  ]) {
    const fields = ['-F', msg, '-F', `signature=${signature}`];
    const { stdout } = await run(t, 'curl', [...options, ...fields, `http://${road.address}/`]);
    assert.equal(stdout.toString(), '204', msg);
  }
  const delivered = road.deliveries();
  assert.equal(delivered.length, 3);
  for (const { bytes } of delivered) assert.ok(bytes.equals(message));
});
