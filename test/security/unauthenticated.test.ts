import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import test, { type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import { v2Type } from '../../src/wire/frame.ts';
import { keyHint } from '../../src/wire/sign.ts';
import { Road } from '../support/road.ts';
import { encodePost, exchange, signedPost } from '../support/signed-post.ts';
import { wirePost, wireTo } from '../support/wire-post.ts';

const MB = 1_000_000;
/** As other clients post. */
const NO_HINT = { 'appengine-mailer-key-hint': undefined };
/** The form of a signature, and no more. */
const FORGED = `v1,${'A'.repeat(43)}=`;

const keysFile = (count: number) => ({
  GMAIL_SECRET_KEYS: Array.from({ length: count }, (_, n) => `key number ${n} of many`).join('\n'),
});

function rssBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** Begins a post; its headers are on their way. */
function begin(address: string, headers: Record<string, string>): ClientRequest {
  const sent = request(`http://${address}/`, { method: 'POST', headers });
  sent.on('error', () => {});
  sent.flushHeaders();
  return sent;
}

async function statusOf(sent: ClientRequest): Promise<number> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode ?? 0;
}

/** Writes to the proxy until it closes the connection; what it said, and how much was sent, with a limit. */
async function writeOn(
  t: TestContext,
  address: string,
  head: string,
  more: Buffer,
  most = 20 * MB, // More than the buffers of two sockets.
): Promise<{ said: string; octets: number }> {
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {}); // It is closed with some of it unread, which is a reset.
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  socket.write(head);
  const write = () => {
    if (socket.bytesWritten > most) socket.destroy();
    while (socket.writable && socket.write(more));
  };
  socket.on('drain', write);
  write();
  await new Promise((resolve) => socket.once('close', resolve));
  return { said: Buffer.concat(pieces).toString(), octets: socket.bytesWritten };
}

const forged = () => {
  const { headers } = encodePost({
    key: 'any',
    headers: { ...NO_HINT, 'webhook-signature': FORGED },
  });
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
};

for (const [what, path, headers, status] of [
  ['that may be signed', '/', forged(), 400],
  ['of HTTP v1', '/', ['Content-Type: application/x-www-form-urlencoded\r\n'], 400],
  ['whose headers are refused', '/', forged().with(3, 'webhook-signature: none\r\n'), 401],
  ['for another path', '/mail', [], 404],
] as const) {
  test(`a body ${what} in chunks of one octet ends with its connection before it costs much`, async (t) => {
    const road = new Road(t);
    const proxy = await road.proxy(['--backend', 'discard']);
    const before = rssBytes(proxy.child.pid ?? 0);
    const head = `POST ${path} HTTP/1.1\r\nHost: x\r\n${headers.join('')}Transfer-Encoding: chunked\r\n\r\n`;
    const said: string[] = [];
    for (let times = 0; times < 20; times += 1) {
      const ended = await writeOn(t, road.address, head, Buffer.from('1\r\nx\r\n'.repeat(10_000)));
      if (ended.said) said.push(ended.said);
      assert.ok(ended.octets < 20 * MB, `${ended.octets}`);
    }
    assert.ok(said.length > 0, 'a reset may lose an answer, and not all');
    for (const each of said) assert.match(each, new RegExp(`^HTTP/1\\.1 ${status} `));
    // What each had read was kept for the time that its body may take: 3 MB and more.
    assert.ok(rssBytes(proxy.child.pid ?? 0) - before < 50 * MB);
    assert.equal((await signedPost(road.address, { key: road.key })).status, 200);
  });
}

test('a body in thousands of small chunks, as of lines, is taken', async (t) => {
  const road = new Road(t);
  await road.proxy(['--backend', 'discard']);
  const bytes = Buffer.alloc((limits.piecesOfAnySize - 10) * 50, 'x\n');
  const { headers, body } = encodePost({ key: road.key, bytes });
  const sent = begin(road.address, headers);
  for (let at = 0; at < body.length; at += 50) {
    if (!sent.write(body.subarray(at, at + 50))) await once(sent, 'drain');
  }
  sent.end();
  assert.equal(await statusOf(sent), 200);
});

test('after a request without a key nothing else is read from its connection', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const { head, body } = wirePost({ key: road.key });
  const { said } = await writeOn(
    t,
    road.address,
    `GET / HTTP/1.1\r\nHost: x\r\n\r\n${head}${body.toString('latin1')}`,
    Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1000)),
  );
  assert.equal([...said.matchAll(/HTTP\/1\.1 200 /g)].length, 1);
  assert.match(said, /^connection: close\r$/im);
  assert.deepEqual(road.deliveries(), []);
  assert.doesNotMatch(proxy.stderr, /defect/);
});

test('an Expect of which nobody has heard makes no other request of it', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const odd = 'GET / HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n';
  const { socket, said } = wireTo(t, road.address);
  socket.write(odd);
  assert.match(await said, /^HTTP\/1\.1 200 [^]*connection: close/i);
  const { octets } = await writeOn(t, road.address, odd, Buffer.from(odd.repeat(1000)));
  assert.ok(octets < 20 * MB, `${octets}`);
});

test('requests behind one that takes long are not collected', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy(['--backend', 'discard'], keysFile(200));
  const before = rssBytes(proxy.child.pid ?? 0);
  const body = Buffer.alloc(10 * MB, 'x\n');
  const head = `POST / HTTP/1.1\r\nHost: x\r\n${forged().join('')}Content-Length: ${body.length}\r\n\r\n`;
  const { said, octets } = await writeOn(
    t,
    road.address,
    `${head}${body.toString()}`,
    Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1000)),
    body.length + 20 * MB,
  );
  assert.equal(said, '');
  assert.ok(octets < body.length + 20 * MB, `${octets}`);
  assert.ok(rssBytes(proxy.child.pid ?? 0) - before < 60 * MB);
});

test('after an answer no more is read than a body may have', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const head = 'POST /mail HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
  const chunk = Buffer.from(`100000\r\n${'x'.repeat(0x100000)}\r\n`);
  const { said, octets } = await writeOn(t, road.address, head, chunk, 150 * MB);
  assert.match(said, /^HTTP\/1\.1 404 /);
  assert.ok(octets < 150 * MB, `${octets}`);
});

test('a client that has its answer and writes on keeps no proxy from stopping', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const sent = begin(road.address, { 'content-length': `${100 * MB}`, 'content-type': v2Type });
  assert.equal(await statusOf(sent), 401);
  const closed = once(sent, 'close');
  const [{ code }] = await Promise.all([proxy.stop(), closed]);
  assert.equal(code, 0);
});

for (const [what, wrong] of Object.entries({
  'without a signature': { 'webhook-signature': undefined },
  'whose signature has not the form of one': { 'webhook-signature': 'v1,abc v2,def' },
  'whose time is none': { 'webhook-timestamp': 'now' },
  'whose key nobody here has': { 'appengine-mailer-key-hint': keyHint(Buffer.from('another')) },
})) {
  test(`a post ${what} is refused before its body comes`, async (t) => {
    const road = new Road(t);
    await road.proxy();
    const { headers } = encodePost({ key: road.key, headers: wrong });
    const sent = begin(road.address, { ...headers, 'content-length': `${100 * MB}` });
    assert.equal(await statusOf(sent), 401);
    sent.destroy();
    assert.equal((await signedPost(road.address, { key: road.key })).status, 200);
  });
}

test('a large post without a hint, which does not end, keeps no other one out', async (t) => {
  const road = new Road(t);
  await road.proxy(['--backend', 'discard']);
  const { key } = road;
  const large = Buffer.alloc(2 * MB, 'x\n');
  const { headers, body } = encodePost({ key, bytes: large, headers: NO_HINT });
  const endless = begin(road.address, { ...headers, 'content-length': `${body.length}` });
  endless.write(body.subarray(0, -1));
  for (const hint of [NO_HINT, {}]) {
    const { status } = await signedPost(road.address, { key, bytes: large, headers: hint });
    assert.equal(status, 200);
  }
  endless.end(body.subarray(-1));
  assert.equal(await statusOf(endless), 200);
});

test('while a large post is tried with 200 keys others are answered', async (t) => {
  const road = new Road(t);
  await road.proxy(['--backend', 'discard'], keysFile(200));
  const { headers, body } = encodePost({
    key: 'unknown',
    bytes: Buffer.alloc(20 * MB, 'x\n'),
    headers: { ...NO_HINT, 'webhook-signature': FORGED },
  });
  const startedAt = performance.now();
  const state = { isOver: false };
  const posted = exchange(road.address, { method: 'POST', headers, body }).then(({ status }) => {
    state.isOver = true;
    return status;
  });
  let longestMs = 0;
  while (!state.isOver) {
    const askedAt = performance.now();
    await exchange(road.address, {});
    longestMs = Math.max(longestMs, performance.now() - askedAt);
  }
  assert.equal(await posted, 401);
  // They waited until all of it was hashed with all keys, which took nearly all of the time.
  assert.ok(longestMs < (performance.now() - startedAt) / 3, `${longestMs} ms`);
});

test('millions of lists in the line of JSON are not parsed', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const body = Buffer.from(`${'['.repeat(limits.envelopeBytes - 1)}\n`);
  const { status, body: text } = await signedPost(road.address, { key: road.key, body });
  assert.equal(status, 400);
  assert.match(text.toString(), /is not an envelope/);
});

test('only so many journal lines a minute are written about clients without a key, and the rest is counted', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const wrong = { key: 'wrong' };
  for (let times = 0; times < limits.unauthenticatedLines + 5; times += 1) {
    await signedPost(road.address, wrong);
  }
  await proxy.stop();
  assert.equal([...proxy.stderr.matchAll(/refused with 401/g)].length, limits.unauthenticatedLines);
  assert.match(proxy.stderr, /^5 more requests without a key of this proxy refused within 60 s$/m);
});

test('behind a web server on this machine the client is the last address that the server names, and never anything else', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  for (const [header, from] of [
    ['10.9.9.9, 192.0.2.7', '192\\.0\\.2\\.7'],
    ['2001:db8::1', '2001:db8::1'],
    ['192.0.2.8, x<3>forged', '127\\.0\\.0\\.1:\\d+'],
  ] as const) {
    await signedPost(road.address, { key: 'wrong', headers: { 'x-forwarded-for': header } });
    await proxy.says(new RegExp(`^request from ${from} refused with 401`, 'm'));
  }
});
