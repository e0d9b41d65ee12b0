import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import test from 'node:test';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import { needs } from '../support/needs.ts';
import { nginx } from '../support/nginx.ts';
import { Road } from '../support/road.ts';
import { encodePost } from '../support/signed-post.ts';

test(
  'behind nginx as documented: 60 MB pass, and a body above the limit is that message alone (law 5)',
  needs('nginx', 'openssl'),
  async (t) => {
    const road = new Road(t);
    await road.proxy();
    const { url, caFile } = await nginx(t, road.folder, road.address, { bodyLimit: '62m' });
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

test(
  'behind nginx as documented, on IPv4 and IPv6: what was sent, a 401 and a 429 name the client and its key',
  needs('nginx', 'openssl'),
  async (t) => {
    const road = new Road(t);
    const keys = join(road.folder, 'keys');
    writeFileSync(keys, `# name web1\n${road.key}\n`, { mode: 0o600 });
    const proxy = await road.proxy(['--keys-file', keys, '--rate', '2/min']);
    const { port, caFile } = await nginx(t, road.folder, road.address, { bodyLimit: '62m' });
    const post = async (host: string, key: string): Promise<number | undefined> => {
      const { headers, body } = encodePost({ key, sender: 's@x.example' });
      const ca = readFileSync(caFile);
      const sent = request({ host, port, ca, method: 'POST', headers }).end(body);
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      response.resume();
      return response.statusCode;
    };
    for (const host of ['127.0.0.1', '::1']) {
      assert.equal(await post(host, road.key), 200);
      await proxy.says(
        new RegExp(`^[0-9a-f]{32} of web1 \\(${host}\\) from <s@x\\.example>: `, 'm'),
      );
    }
    for (const host of ['127.0.0.1', '::1']) {
      assert.equal(await post(host, road.key), 429);
      await proxy.says(new RegExp(`^request from ${host} with key web1 refused with 429: `, 'm'));
      assert.equal(await post(host, 'another key'), 401);
      await proxy.says(new RegExp(`^request from ${host} refused with 401: `, 'm'));
    }
  },
);
