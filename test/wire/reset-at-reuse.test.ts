import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { GmailProxy } from '../../src/client/gmail-proxy.ts';
import { certificate } from '../support/certificate.ts';
import { Forwarder } from '../support/forwarder.ts';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { Road } from '../support/road.ts';

for (const wire of ['v2', 'v1']) {
  test(
    `${wire}: a middle box that resets each reused connection delays nobody, and the proxy is never called down (law 5)`,
    needs('openssl'),
    async (t) => {
      const road = new Road(t);
      await road.proxy();
      const { env, box } = await boxBefore(t, road, wire);
      box.resetReused();
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
    },
  );
}

test(
  'the library sends each message, in one go, although each reused connection is reset (law 6)',
  needs('openssl'),
  async (t) => {
    const road = new Road(t);
    await road.proxy();
    const { env, box } = await boxBefore(t, road, 'v2');
    box.resetReused();
    const caFile = env.APPENGINE_MAILER_CA_FILE;
    const proxy = new GmailProxy(road.key, env.GMAIL_PROXY_URL, { caFile });
    t.after(() => proxy.close());
    const message = 'From: s@example.com\nTo: r@example.org\n\nHello\n';
    for (let count = 0; count < 5; count += 1) assert.equal(await proxy.sendMail(message), true);
    const several = Array.from({ length: 10 }, async () => proxy.sendMail(message));
    assert.deepEqual(new Set(await Promise.all(several)), new Set([true]));
    assert.equal(await proxy.verify(), true);
    assert.equal(road.deliveries().length, 15);
  },
);

/** v2 by TLS: without it each connection is used once, for a probe, before it carries mail. */
async function boxBefore(t: TestContext, road: Road, wire: string) {
  const { key, cert, file } = await certificate(t, road.folder);
  const tls = wire === 'v2' ? { key, cert } : undefined;
  const box = await Forwarder.open(t, `http://${road.address}/`, tls);
  const url = `${tls ? 'https' : 'http'}://localhost:${box.port}/`;
  return { box, env: { GMAIL_PROXY_URL: url, APPENGINE_MAILER_CA_FILE: file } };
}
