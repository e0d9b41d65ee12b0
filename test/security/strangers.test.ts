import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import test from 'node:test';
import { limits } from '../../src/mail/limits.ts';
import { keyHint } from '../../src/wire/sign.ts';
import { Road } from '../support/road.ts';
import { encodePost, exchange, signedPost } from '../support/signed-post.ts';

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

test('a body in chunks of one octet takes about as much memory as it has octets', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const pid = proxy.child.pid ?? 0;
  const before = rssBytes(pid);
  const socket = connect(Number(road.address.split(':')[1]), '127.0.0.1');
  t.after(() => socket.destroy());
  const { headers } = encodePost({
    key: road.key,
    headers: { ...NO_HINT, 'webhook-signature': FORGED },
  });
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\n${lines.join('')}Transfer-Encoding: chunked\r\n\r\n`);
  const some = Buffer.from('1\r\nx\r\n'.repeat(10_000));
  for (let rest = 800_000; rest > 0; rest -= 10_000) {
    if (!socket.write(some)) await once(socket, 'drain');
  }
  socket.write('0\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 401 /);
  // An object for each chunk took 300 octets and more: 240 MB.
  assert.ok(rssBytes(pid) - before < 100 * MB, `${(rssBytes(pid) - before) / MB} MB`);
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

test('of strangers so many lines a minute are written, and the rest is counted', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const wrong = { key: 'wrong' };
  for (let times = 0; times < limits.strangerLines + 5; times += 1) {
    await signedPost(road.address, wrong);
  }
  await proxy.stop();
  assert.equal([...proxy.stderr.matchAll(/refused with 401/g)].length, limits.strangerLines);
  assert.match(proxy.stderr, /^5 more requests without a key of this proxy refused within 60 s$/m);
});

test('behind a web server on this machine the client is who that server names last, and nothing that is no address', async (t) => {
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
