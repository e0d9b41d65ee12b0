import assert from 'node:assert/strict';
import test from 'node:test';
import { unlimited } from '../../src/proxy/backends/backend.ts';
import { Deliverer } from '../../src/proxy/deliverer.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { ControlledDeliverer } from '../support/controlled-deliverer.ts';
import { formPost } from '../support/form-post.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

test('with --soft-bounce no verdict is for good, nor any 400 about a mail', async (t) => {
  const road = new Road(t);
  const { key } = road;
  const args = ['--soft-bounce', '--allow-sender', '@example.com', '--max-recipients', '3'];
  const proxy = await road.proxy(args);
  assert.match(proxy.stderr, /, 1 key; --soft-bounce is on: nothing is refused for good$/m);
  const statuses = async (sender: string, ...recipients: string[]) => {
    const { body } = await signedPost(road.address, { key, sender, recipients });
    return [...body.toString().matchAll(/"status":"([^"]+)"/g)].map(([, status]) => status);
  };
  assert.deepEqual(await statuses('a@example.com', 'a@b', 'no at'), ['2.0.0', '4.1.3']);
  assert.deepEqual(await statuses('a@example.net', 'a@b'), ['4.7.1']);
  assert.deepEqual(await statuses('no sender', 'a@b'), ['4.1.7']);
  const mails: [status: number, msg: string][] = [
    [204, 'From: a@example.com\nTo: a@b\n\nx\n'],
    [500, 'From: a@example.net\nTo: a@b\n\nx\n'],
    [500, 'From: a@example.com\nTo: a@b, root\n\nx\n'],
    [500, 'To: a@b\n\nx\n'],
    [500, 'From: a@example.com\n\nx\n'],
    [204, 'From: a@example.com\nTo: a@b\n'],
    [500, 'From: a@example.com\nTo: a@b, c@d, e@f, g@h\n\nx\n'],
  ];
  for (const [status, msg] of mails) {
    assert.equal((await formPost(road.address, { key, msg })).status, status, msg);
  }
  // Whose fault it is not to be the proxy's client at all does not change.
  assert.equal((await formPost(road.address, { key: 'another' })).status, 400);
  assert.equal((await formPost(road.address, { key, body: 'msg' })).status, 400);
  assert.equal((await signedPost(road.address, { key: 'another' })).status, 401);
});

test("a backend's 5.x.x becomes 4.x.x and says what it was; what is sent, deferred or unknown is as before", async (t) => {
  const controlled = new ControlledDeliverer(t);
  const { ledger } = controlled;
  const said: Record<string, string> = { 'a@b': '5.1.1', 'c@d': '4.2.2', 'e@f': '2.1.5' };
  const deliverer = new Deliverer({
    ledger,
    backend: unlimited(async ({ recipients }) =>
      Promise.resolve(
        recipients.flatMap((recipient) => {
          const status = said[recipient];
          return status ? [{ recipient, status, reason: 'why' }] : [];
        }),
      ),
    ),
    policy: (delivery) => delivery,
    journal: proxyJournal(() => {}),
    recipientsMax: 100,
    softBounce: true,
  });
  const envelope = { sender: '', recipients: ['a@b', 'c@d', 'e@f', 'g@h'] };
  const verdicts = await deliverer.send({
    key: '',
    id: 'one',
    envelope,
    bytes: Buffer.from('x\n'),
  });
  assert.deepEqual(
    verdicts.map(({ status, reason }) => `${status} ${reason}`),
    [
      '4.1.1 soft bounce of 5.1.1: why',
      '4.2.2 why',
      '2.1.5 why',
      '4.4.2 the backend said nothing of it',
    ],
  );
});
