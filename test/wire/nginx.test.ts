import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { nginx } from '../support/nginx.ts';
import { Road } from '../support/road.ts';

test(
  'behind nginx as documented: 60 MB pass, and a body above the limit is that message alone (law 5)',
  needs('nginx', 'openssl'),
  async (t) => {
    const road = new Road(t);
    await road.proxy();
    const { url, caFile } = await nginx(t, road.folder, road.address, '62m');
    const large = randomBytes(60_000_000);
    handIn(road.spool, [
      { bytes: randomBytes(66_000_000), recipients: ['too-large@example.org'] },
      { bytes: large },
      { bytes: 'small\n' },
    ]);
    const env = { GMAIL_PROXY_URL: url };
    const drain = road.drain(['--ca-file', caFile], env);
    await drain.says(/<r@example.org> sent/, 2);
    const [line] = await drain.says(/^.*<too-large@example.org> deferred.*$/m);
    assert.match(line, /answered 413/);
    await drain.stop();

    const [tooLarge, ...others] = lookInto(road.spool).messages;
    assert.deepEqual([tooLarge?.state, tooLarge?.attempts], ['queued', 1]);
    assert.deepEqual(
      others.map(({ state }) => state),
      ['sent', 'sent'],
    );
    const delivered = road.deliveries().map(({ bytes }) => bytes);
    assert.equal(delivered.length, 2);
    assert.ok(
      delivered.some((bytes) => bytes.equals(large)),
      'other bytes than were sent',
    );
  },
);
