import assert from 'node:assert/strict';
import test from 'node:test';
import { LocalProxy } from '../support/local-proxy.ts';
import { signedPositions, spoiled } from '../support/spoiled.ts';
import { wirePost, wireTo } from '../support/wire-post.ts';

/** Closes the connection, also where a spoiled Content-Length swallows thousands of these bytes. */
const CLOSE = Buffer.from(
  `${'\r\n'.repeat(6000)}GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
);

test('a request with a changed byte, anywhere, is refused or is the request that was signed', async (t) => {
  const local = await LocalProxy.start(t);
  const id = '0123456789abcdefABCDEF_-';
  const { head, body } = wirePost({ key: local.key, id, bytes: 'Subject: x\n\n.\n' });
  const whole = Buffer.concat([Buffer.from(head), body]);
  const isSigned = signedPositions(whole);
  const statuses = async (request: Buffer) => {
    const { socket, said } = wireTo(t, local.address);
    socket.write(Buffer.concat([request, CLOSE]));
    return [...(await said).matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status));
  };
  const { calls } = local.controlled;

  let taken = 0;
  for (const { position, how, bytes } of spoiled(whole)) {
    const before = calls.length;
    const [status = 0] = await statuses(bytes);
    const where = `${how} byte ${position}, ${JSON.stringify(whole.subarray(position - 9, position + 9).toString('latin1'))}`;
    // What nobody signs, such as Host, may be anything: it changes nothing of what is sent.
    if (status === 200 && !isSigned(position)) taken += 1;
    else assert.ok(status >= 400 && calls.length === before, `${status} ${where}`);
  }
  assert.deepEqual(await statuses(whole), [200, 200], 'and then it is still taken');
  assert.ok(taken > 0);
  assert.deepEqual(
    calls.map((call) => [call.id, call.sender, call.recipients, call.bytes.toString()]),
    [[id, 's@example.com', ['r@example.org'], 'Subject: x\n\n.\n']],
    'it was sent once, as it was signed',
  );
  t.diagnostic(`${taken} that differed where nothing is signed were taken for the same`);
});
