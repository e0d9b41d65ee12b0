import assert from 'node:assert/strict';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { rebuildLedger } from '../../src/proxy/ledger/sqlite/rebuild-ledger.ts';
import { rebuildSpool } from '../../src/spool/recover/rebuild-spool.ts';
import { pagesOf, spoilPage } from '../support/damage.ts';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer } from '../support/program.ts';
import { random } from '../support/random.ts';
import { Road } from '../support/road.ts';

// A repair that is killed when it has put the new file in place, and before it has told what is lost.

const MESSAGES = 12;

/** A road whose spool was repaired, which nobody told; `lost` is the message that this cost. */
function repaired(t: TestContext): { road: Road; file: string; lost: string } {
  const road = new Road(t);
  const bytes = `Subject: x\n\n${'x'.repeat(3000)}\n`;
  const ids = handIn(
    road.spool,
    Array.from({ length: MESSAGES }, () => ({ bytes })),
  );
  const file = join(road.spool, 'spool.db');
  spoilPage(file, pagesOf(file, 'body')[8] ?? 0, 'zeros', random(t));
  const [damaged] = rebuildSpool(road.spool, Date.now()).damaged;
  assert.ok(ids.includes(damaged?.id ?? ''));
  return { road, file, lost: damaged?.id ?? '' };
}

test('law 7: a repair that was killed before it named the lost: drain names them when it starts, once', async (t) => {
  const { road, lost } = repaired(t);
  await road.proxy();
  const drain = road.drain();
  await drain.says(new RegExp(`^lost: message ${lost} `, 'm'));
  await drain.says(/ was damaged and is repaired; 1 messages are lost; /);
  await drain.says(/> sent \(/, MESSAGES - 1);
  await drain.stop();
  const again = await road.drain(['--once']).ended;
  assert.doesNotMatch(again.stderr, /lost: message/);
  assert.equal((await road.stats())['damaged'], 1);
});

test('law 7: a repair that was killed before it named the lost: the next fsck names them, and those of a further repair too', async (t) => {
  const { road, file, lost } = repaired(t);
  spoilPage(file, pagesOf(file, 'body')[3] ?? 0, 'zeros', random(t));
  const more = rebuildSpool(road.spool, Date.now()).damaged[0]?.id ?? '';
  const fsck = await road.queue('fsck');
  assert.equal(fsck.code, 1);
  for (const id of [lost, more])
    assert.match(String(fsck.stdout), new RegExp(`lost: message ${id} `));
  assert.match(fsck.stderr, / was damaged and is repaired; 1 messages are lost; /);
  assert.equal((await road.queue('fsck')).code, 0);
});

test('what a repair was to tell is not told of another file: it was killed before the new one was in place, or that was replaced', async (t) => {
  const { road, file } = repaired(t);
  const other = new Road(t);
  handIn(other.spool, [{}]);
  renameSync(join(other.spool, 'spool.db'), file);
  const fsck = await road.queue('fsck');
  assert.equal(fsck.code, 0, fsck.stderr);
  assert.doesNotMatch(String(fsck.stdout), /lost/);
  assert.ok(!existsSync(`${file}.repaired`));
  writeFileSync(`${file}.repaired`, 'no JSON');
  assert.equal((await road.queue('fsck')).code, 0);
});

test('a proxy tells what a repair of its ledger was to tell and did not', async (t) => {
  const road = new Road(t);
  const file = join(road.folder, 'ledger.db');
  const ledger = new SqliteLedger(file);
  await ledger.begin({ key: '', id: 'a'.repeat(32) }, Buffer.alloc(32, 7), ['r@example.org']);
  ledger.close();
  spoilPage(file, pagesOf(file, 'checked')[0] ?? 0, 'zeros', random(t));
  assert.notEqual(rebuildLedger(file, 2000).kept, undefined);
  const proxy = await road.proxy();
  await proxy.says(/^the ledger \S+ was damaged and is repaired: /m);
  await proxy.stop();
  const fsck = await appengineMailer(t, ['queue', 'fsck', '--ledger', file], { input: '' }).ended;
  assert.equal(fsck.code, 0, fsck.stderr);
});
