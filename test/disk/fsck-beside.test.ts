import assert from 'node:assert/strict';
import { linkSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { rebuildSpool } from '../../src/spool/recover/rebuild-spool.ts';
import { Spool } from '../../src/spool/spool.ts';
import { pagesOf, spoilPage } from '../support/damage.ts';
import { handIn } from '../support/hand-in.ts';
import { appengineMailer, run } from '../support/program.ts';
import { random } from '../support/random.ts';
import { readSpool } from '../support/read-spool.ts';
import { Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';

/** A spool's files as they are, read by another process: to read them here would drop the locks that are held here. */
async function filesOf(t: TestContext, file: string): Promise<string> {
  const { code, stdout } = await run(t, 'sha256sum', [file, `${file}-wal`]);
  assert.equal(code, 0);
  return String(stdout);
}

test('law 1, law 7: beside a running drain fsck is refused, and touches neither the spool nor its log', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const drain = road.drain();
  await drain.says(/started/);
  const [id = ''] = handIn(road.spool, [{ bytes: 'x\n' }]);
  await drain.says(new RegExp(`${id}.*> sent \\(`));
  const file = join(road.spool, 'spool.db');
  const before = await filesOf(t, file);
  const { code, stderr } = await road.queue('fsck');
  assert.equal(code, 75);
  assert.match(stderr, /a drain is at work on/);
  assert.equal(await filesOf(t, file), before);
  await drain.stop();
});

test('law 1, law 7: fsck waits for who has a damaged spool open, gives up, and leaves it and its log as they are', async (t) => {
  const folder = scratch(t);
  const file = join(folder, 'spool.db');
  handIn(folder, [{}, {}]);
  spoilPage(file, pagesOf(file, 'message_state')[0] ?? 0, 'zeros', random(t));
  // As exim-pipe has it, which takes no lock of drain's.
  const other = new Spool(folder, 'pipe');
  t.after(() => other.close());
  other.transaction(() => other.db.exec('UPDATE endpoint SET passed_at = 1'));
  const before = await filesOf(t, file);
  assert.notEqual(statSync(`${file}-wal`).size, 0);
  const fsck = appengineMailer(t, ['queue', 'fsck', '--spool', folder], { input: '' });
  const { code, stderr } = await fsck.ended;
  assert.equal(code, 75, stderr);
  assert.match(stderr, /is busy/);
  assert.equal(await filesOf(t, file), before);
  other.transaction(() => other.db.exec('UPDATE endpoint SET passed_at = 2'));
  other.close();
  assert.notEqual(rebuildSpool(folder, 1).kept, undefined);
  assert.equal(readSpool(folder).length, 2);
});

for (const [what, link] of [
  ['symbolic', symlinkSync],
  ['hard', linkSync],
] as const) {
  test(`fsck changes nothing through a ${what} link, that of another's spool or log`, (t) => {
    const victim = join(scratch(t), 'victim');
    writeFileSync(victim, 'of root\n'.repeat(1000));
    const before = readFileSync(victim);
    const folder = scratch(t);
    handIn(folder, [{}]);
    const log = readFileSync(join(folder, 'spool.db'));
    const evil = scratch(t);
    link(victim, join(evil, 'spool.db'));
    writeFileSync(join(evil, 'spool.db-wal'), log);
    assert.throws(() => rebuildSpool(evil, 1), /spool\.db (?:is a symbolic link|has another name)/);
    spoilPage(join(folder, 'spool.db'), 2, 'garbage', random(t));
    link(victim, join(folder, 'spool.db-wal'));
    try {
      rebuildSpool(folder, 1);
    } catch {} // It may refuse, or remove the link.
    assert.deepEqual(readFileSync(victim), before);
  });
}

test('law 6, law 7: a repair that was cut off is known by the second name of the file, and made anew', (t) => {
  const folder = scratch(t);
  handIn(folder, [{}]);
  const file = join(folder, 'spool.db');
  const kept = `${file}.damaged-earlier`;
  linkSync(file, kept);
  const again = rebuildSpool(folder, 1);
  assert.deepEqual(again.faults, ['a repair of it was cut off']);
  assert.equal(again.kept, kept);
  assert.equal(readSpool(folder).length, 1);
  assert.deepEqual(rebuildSpool(folder, 1).faults, []);
});

test('law 7: a disk that goes on damaging the spool does not fill up with damaged files', (t) => {
  const folder = scratch(t);
  handIn(folder, [{}]);
  const file = join(folder, 'spool.db');
  const kept = Array.from({ length: 5 }, () => {
    spoilPage(file, pagesOf(file, 'counter')[0] ?? 0, 'zeros', random(t));
    return basename(rebuildSpool(folder, 1).kept ?? '');
  });
  assert.equal(new Set(kept).size, 5);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('damaged')),
    [kept[0], kept[3], kept[4]],
  );
});

test('law 7: whatever byte of the header is wrong, fsck repairs what keeps a spool from being opened', (t) => {
  const choice = random(t);
  const folder = scratch(t);
  handIn(folder, [{}]);
  const file = join(folder, 'spool.db');
  const whole = readFileSync(file);
  for (let at = 0; at < HEADER_BYTES; at += 1) {
    const bytes = Buffer.from(whole);
    bytes[at] = bytes.readUInt8(at) ^ (1 << choice.below(8));
    writeFileSync(file, bytes);
    rebuildSpool(folder, 1);
    const spool = new Spool(folder, 'drain');
    spool.close();
    assert.equal(readSpool(folder).length, 1, `byte ${at}`);
  }
});

const HEADER_BYTES = 108;
