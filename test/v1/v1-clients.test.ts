import assert from 'node:assert/strict';
import test from 'node:test';
import { formPost } from '../support/form-post.ts';
import { Road } from '../support/road.ts';
import { wireTo } from '../support/wire-post.ts';

/**
 * Requests as the clients sent them, to the octet; signed, by Python, with this key. Lines of the head end
 * in CRLF on the wire.
 */
const KEY = 'a secret key';
const recorded: { client: string; head: string[]; body: string; message: string }[] = [
  {
    client: "the v1 gmail.py, Python 2.7's urllib",
    head: [
      'POST / HTTP/1.0',
      'Content-Type: application/x-www-form-urlencoded',
      'Content-Length: LENGTH',
      'Host: 127.0.0.1:18080',
      'User-Agent: Python-urllib/1.17',
      'Accept: */*',
    ],
    body:
      'msg=From%3A+Toby+at+work+%3Ctoby%40example.com%3E%0ATo%3A+friend%40example.org%0A' +
      'Subject%3A+a+%7E+%2B+%26+%3D+%25%0A%0Aline1+%7E+%2B+%26+%3D+%25+%0D%0Aline2%0A' +
      '&signature=d60UIoVPey98k2ylQ28Y0HFaIQs%3D',
    message:
      'From: Toby at work <toby@example.com>\nTo: friend@example.org\n' +
      'Subject: a ~ + & = %\n\nline1 ~ + & = % \r\nline2\n',
  },
  {
    client: 'gmail.py with fix_sender, in the order of a dict of Python 2.7',
    head: [
      'POST / HTTP/1.0',
      'Content-Type: application/x-www-form-urlencoded',
      'Content-Length: LENGTH',
      'Host: 127.0.0.1:18080',
      'User-Agent: Python-urllib/1.17',
      'Accept: */*',
    ],
    body:
      'msg=From%3A+me%40example.com%0ATo%3A+you%40example.org%0A%0ACaf%E9%0A&fix_sender=True' +
      '&signature=9T0NZkg5aYYjyTuxmag7dr6rvk8%3D',
    message: 'From: me@example.com\nTo: you@example.org\n\nCaf\xe9\n',
  },
  {
    client: "viboo's, python-requests",
    head: [
      'POST / HTTP/1.1',
      'Host: 127.0.0.1:18080',
      'User-Agent: python-requests/2.32.3',
      'Accept-Encoding: gzip, deflate',
      'Accept: */*',
      'Connection: close',
      'Content-Length: LENGTH',
      'Content-Type: application/x-www-form-urlencoded',
    ],
    body:
      'msg=From%3A+me%40example.com%0ATo%3A+you%40example.org%0A%0ACaf%C3%A9+~%0A' +
      '&signature=mSbDhIKnzIHTlKqJnT4FHxJf2WQ%3D&fix_sender=True',
    message: 'From: me@example.com\nTo: you@example.org\n\nCaf\xc3\xa9 ~\n',
  },
  {
    client: 'the very first one, httplib2 without a Content-Type',
    head: [
      'POST / HTTP/1.1',
      'Host: 127.0.0.1:18080',
      'Content-Length: LENGTH',
      'accept-encoding: gzip, deflate',
      'user-agent: Python-httplib2/0.7.4 (gzip)',
      'connection: close',
    ],
    body:
      'msg=From%3A+me%40example.com%0ATo%3A+you%40example.org%0A%0ACaf%C3%A9+~%0A' +
      '&signature=mSbDhIKnzIHTlKqJnT4FHxJf2WQ%3D',
    message: 'From: me@example.com\nTo: you@example.org\n\nCaf\xc3\xa9 ~\n',
  },
];

for (const { client, head, body, message } of recorded) {
  const request = `${head.join('\r\n')}\r\n\r\n${body}`.replace('LENGTH', String(body.length));

  test(`204 to a recorded request: ${client}`, { timeout: 30_000 }, async (t) => {
    const road = new Road(t);
    await road.proxy([], { GMAIL_SECRET_KEY: KEY });
    const { socket, said } = wireTo(t, road.address);
    socket.write(request);
    const answer = await said;
    assert.match(answer, /^HTTP\/1\.1 204 No Content\r\n(?:[^\r\n]+\r\n)+\r\n$/);
    assert.match(answer, /^connection: close\r$/im);
    assert.doesNotMatch(answer, /transfer-encoding|content-length/i);
    assert.deepEqual(
      road.deliveries().map(({ bytes }) => bytes.toString('latin1')),
      [message],
    );
  });

  test(`a v1 client can read a refusal: ${client}`, { timeout: 30_000 }, async (t) => {
    const road = new Road(t);
    await road.proxy([], { GMAIL_SECRET_KEY: 'another key' });
    const { socket, said } = wireTo(t, road.address);
    socket.write(request);
    const answer = await said;
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(answer, /^content-length: 23\r$/im);
    assert.match(answer, /\r\n\r\nSignature doesn't match$/);
    assert.doesNotMatch(answer, /transfer-encoding|location|www-authenticate/i);
  });
}

const DEFAULTS: [setting: string, from: string][] = [
  ['noreply@example.com', 'noreply@example.com'],
  ['Ops <noreply@example.com>', 'Ops <noreply@example.com>'],
  ['Öps <noreply@example.com>', '=?UTF-8?Q?=C3=96ps?= <noreply@example.com>'],
];

for (const [setting, from] of DEFAULTS) {
  test(`mail without a sender is sent as the default sender, ${setting}, with fix_sender`, async (t) => {
    const road = new Road(t);
    await road.proxy([], { GMAIL_DEFAULT_SENDER: `${setting}\n` });
    for (const missing of ['', 'From:\n', 'From: \t\nSender: x\n', 'From: ,\n']) {
      const msg = `${missing}To: you@example.org\n\nHello\n`;
      const plain = await formPost(road.address, { key: road.key, msg });
      assert.deepEqual([plain.status, plain.body.toString()], [400, 'No sender specified']);
      const fixed = await formPost(road.address, {
        key: road.key,
        msg,
        fields: { fix_sender: 'True' },
      });
      assert.deepEqual([fixed.status, fixed.body.toString()], [204, '']);
      const expected = `From: ${from}\n${missing.replace(/From:.*\n/, '')}To: you@example.org\n\nHello\n`;
      const sent = road.deliveries().find(({ bytes }) => bytes.toString() === expected);
      assert.equal(sent?.sender, 'noreply@example.com', missing);
    }
  });
}

test('with --fix-sender no post need ask for the default sender', async (t) => {
  const road = new Road(t);
  await road.proxy(['--fix-sender', '--default-sender', 'Ops <noreply@example.com>']);
  const msg = 'To: you@example.org\n\nHello\n';
  assert.equal((await formPost(road.address, { key: road.key, msg })).status, 204);
  assert.equal(road.deliveries()[0]?.sender, 'noreply@example.com');
});

test('the header ends where it does in the v1 server: at a line that is not a field, and with the message', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const head = 'From: me@example.com\nTo: you@example.org\n';
  const crlf = head.replaceAll('\n', '\r\n');
  const cases: [posted: string, sent: string][] = [
    [
      `${head}Hello there\nTo: evil@example.net\n\nmore\n`,
      `${head}\nHello there\nTo: evil@example.net\n\nmore\n`,
    ],
    [`${crlf}Hello there\r\n`, `${crlf}\r\nHello there\r\n`],
    [head, `${head}\n`],
    [crlf.trimEnd(), `${crlf}\r\n`],
  ];
  for (const [msg, sent] of cases) {
    const answer = await formPost(road.address, { key: road.key, msg });
    assert.equal(answer.status, 204, answer.body.toString());
    const found = road.deliveries().find(({ bytes }) => bytes.toString() === sent);
    assert.deepEqual(found?.recipients, ['you@example.org'], msg);
  }
});
