import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { handIn } from '../support/hand-in.ts';
import { lookInto } from '../support/look-into.ts';
import type { Program } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';

test('keys are exchanged under load, on the proxy and on the host: no mail fails, waits or is charged', async (t) => {
  const road = new Road(t);
  const keys = join(road.folder, 'keys');
  writeFileSync(keys, 'the old key of web1\n');
  const proxy = await road.proxy(['--keys-file', keys]);
  // As systemd hands the key over: drain reads it when it starts.
  const credentials = join(road.folder, 'credentials');
  mkdirSync(credentials);
  const drainWith = (key: string) => {
    writeFileSync(join(credentials, 'GMAIL_SECRET_KEY'), `${key}\n`, { mode: 0o600 });
    return road.drain([], { GMAIL_SECRET_KEY: '', CREDENTIALS_DIRECTORY: credentials });
  };

  const ids: string[] = [];
  const enough = new AbortController();
  const load = (async () => {
    while (!enough.signal.aborted) {
      ids.push(...handIn(road.spool, [{}, {}, {}]));
      await sleep(10);
    }
  })();
  const before = drainWith('the old key of web1');
  await sendsMore(before);
  writeFileSync(keys, 'the old key of web1\nthe new key of web1\n');
  await proxy.says(/read again: 2 keys in force/);
  await sendsMore(before);
  await before.stop();
  const drain = drainWith('the new key of web1');
  await sendsMore(drain);
  writeFileSync(keys, 'the new key of web1\n');
  await proxy.says(/read again: 1 key in force/);
  await sendsMore(drain);
  enough.abort();
  await load;
  await drain.says(SENT, ids.length - sentBy(before));
  assert.equal((await drain.stop()).code, 0);

  assert.doesNotMatch(proxy.stderr, /refused with/);
  const old = await signedPost(road.address, { key: 'the old key of web1' });
  assert.equal(old.status, 401, 'it is out');
  for (const { state, attempts } of lookInto(road.spool).messages) {
    assert.deepEqual([state, attempts], ['sent', 1]);
  }
  assert.deepEqual(
    road
      .deliveries()
      .map(({ id }) => id)
      .toSorted(),
    ids.toSorted(),
  );
  for (const { stderr } of [before, drain]) {
    assert.doesNotMatch(stderr, /is down|attention|deferred|being sent when drain last died/);
  }
});

const SENT = /> sent \(/;

function sentBy(drain: Program): number {
  return drain.stderr.match(new RegExp(SENT, 'g'))?.length ?? 0;
}

async function sendsMore(drain: Program): Promise<void> {
  await drain.says(SENT, sentBy(drain) + 50);
}
