import assert from 'node:assert/strict';
import test from 'node:test';
import { GmailProxy } from '../../src/client/gmail-proxy.ts';
import { Forwarder } from '../support/forwarder.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { Road } from '../support/road.ts';

for (const wire of ['v2', 'v1']) {
  test(`${wire}: a middle box that resets each reused connection delays nobody, and the proxy is never called down (law 5)`, async (t) => {
    const road = new Road(t);
    await road.proxy();
    const box = await Forwarder.open(t, `http://${road.address}/`);
    box.resetReused();
    const env = { GMAIL_PROXY_URL: `http://127.0.0.1:${box.port}/` };
    const drain = road.drain(['--wire', wire], env);
    const bytes = 'From: s@example.com\nTo: r@example.org\n\nx\n';
    // Singly, then so many at once that several connections are idle afterwards, and singly again.
    for (const [round, count] of [1, 1, 20, 1, 1, 20].entries()) {
      handIn(
        road.spool,
        Array.from({ length: count }, (_, number) => ({
          sender: `s${round}.${number}@example.com`,
          bytes,
        })),
      );
      const sent = [1, 2, 22, 23, 24, 44][round];
      await drain.says(/> sent \(2\./, sent);
    }
    assert.doesNotMatch(drain.stderr, /is down|is back|not sent/);
    assert.equal((await drain.stop()).code, 0);
    const { messages } = lookInto(road.spool);
    assert.deepEqual(
      new Set(messages.map(({ state, attempts }) => `${state} ${attempts}`)),
      new Set(['sent 1']),
    );
    assert.equal(road.deliveries().length, 44);
  });
}

test('the library sends each message, in one go, although each reused connection is reset (law 6)', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const box = await Forwarder.open(t, `http://${road.address}/`);
  box.resetReused();
  const proxy = new GmailProxy(road.key, `http://127.0.0.1:${box.port}/`);
  t.after(() => proxy.close());
  const message = 'From: s@example.com\nTo: r@example.org\n\nHello\n';
  for (let count = 0; count < 5; count += 1) assert.equal(await proxy.sendMail(message), true);
  const several = Array.from({ length: 10 }, async () => proxy.sendMail(message));
  assert.deepEqual(new Set(await Promise.all(several)), new Set([true]));
  assert.equal(await proxy.verify(), true);
  assert.equal(road.deliveries().length, 15);
});
