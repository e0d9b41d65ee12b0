import assert from 'node:assert/strict';
import test from 'node:test';
import { bsmtp, Road } from '../support/road.ts';

test('a message goes from exim-pipe to the file backend, byte for byte (law 3, law 4)', async (t) => {
  const road = new Road(t);
  const message = Buffer.concat([
    Buffer.from('Subject: x\nBcc: hidden@example.org\n\n.dot\n..two\n\0\r \xff\n', 'latin1'),
    Buffer.alloc(100_000, 'l'),
    Buffer.from('\n'),
  ]);
  const recipients = ['a@example.org', '"a>b"@example.net', 'ü@exämple.org'];
  const queued = await road.pipe('1abc-0', bsmtp('s@example.com', recipients, message));
  assert.match(queued.stdout.toString(), /^queued [0-9a-f]{32}\n$/);
  assert.equal(queued.code, 0);

  await road.proxy();
  const { code } = await road.drain(['--once']).ended;
  assert.equal(code, 0);
  const [delivered, ...more] = road.deliveries();
  assert.deepEqual(more, []);
  assert.deepEqual(delivered, {
    id: queued.stdout.toString().slice(7, -1),
    sender: 's@example.com',
    recipients,
    bytes: message,
  });
  assert.equal((await road.stats())['sent'], 1);
});
