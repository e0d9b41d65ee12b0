import assert from 'node:assert/strict';
import {
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { DatabaseReplacedError } from '../../src/sqlite/open-database.ts';
import { enqueue } from '../../src/spool/enqueue.ts';
import { adoptRescued } from '../../src/spool/recover/rescue.ts';
import { Spool } from '../../src/spool/spool.ts';
import { LONG } from '../support/figures.ts';
import { freshSpool } from '../support/fresh-spool.ts';
import { handIn } from '../support/hand-in.ts';
import { handOver } from '../support/hand-over.ts';
import { appengineMailer, inCheckout, run, type Program } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { readSpool } from '../support/read-spool.ts';
import { scratch } from '../support/scratch.ts';
import { signedPost } from '../support/signed-post.ts';
import { until } from '../support/until.ts';

// Files of an open database are removed or replaced, as a careless clean-up or restore does.

const MESSAGES = LONG ? 20 : 8;

/** A road with a proxy and a drain that has sent some messages, all of which may still be in the log alone. */
async function roadAtWork(t: TestContext): Promise<{ road: Road; drain: Program }> {
  const road = new Road(t);
  await road.proxy();
  const drain = road.drain();
  await drain.says(/ started; /);
  await handOverMany(road, 'before');
  await drain.says(/> sent \(/, MESSAGES);
  return { road, drain };
}

/** Hands messages over by exim-pipe; returns for how many it answered 0. */
async function handOverMany(road: Road, name: string): Promise<number> {
  const codes: (number | null)[] = [];
  for (let number = 0; number < MESSAGES; number += 4) {
    const four = [0, 1, 2, 3].map((more) => `${name}-${number + more}`);
    const ended = await Promise.all(
      four.map(async (id) =>
        road.pipe(id, bsmtp('s@example.com', [`${id}@example.org`], `${id}\n`)),
      ),
    );
    codes.push(...ended.map(({ code }) => code));
  }
  assert.ok(
    codes.every((code) => code === 0 || code === 75),
    String(codes),
  );
  return codes.filter((code) => code === 0).length;
}

function remove(folder: string, ends: readonly string[]): void {
  for (const end of ends) rmSync(join(folder, `spool.db${end}`));
}

const removals = [['-shm'], ['-wal'], ['-wal', '-shm']] as const;

for (const ends of removals) {
  const names = ends.map((end) => `spool.db${end}`).join(' and ');

  test(`law 1, law 7, law 8: ${names} removed under drain: it ends, and the next sends what was acknowledged`, async (t) => {
    const { road, drain } = await roadAtWork(t);
    remove(road.spool, ends);
    const acknowledged = await handOverMany(road, 'after');
    const { code, stderr } = await drain.stop(); // It ended by itself before.
    assert.equal(code, 74, stderr);
    assert.match(stderr, /^attention: \S+spool\.db-\w+ was removed or replaced .*: drain ends/m);
    const next = await road.drain(['--once']).ended;
    assert.equal(next.code, 0, next.stderr);
    const sent = road.deliveries().map(({ recipients }) => recipients[0]);
    assert.equal(sent.filter((address) => address?.startsWith('after')).length, acknowledged);
    const stats = await road.stats();
    assert.deepEqual(
      [stats['accepted'], stats['sent']],
      [MESSAGES + acknowledged, MESSAGES + acknowledged],
    );
  });

  test(`law 7: ${names} removed under drain that does not see it before it is stopped: it removes nothing that was acknowledged`, async (t) => {
    const { road, drain } = await roadAtWork(t);
    drain.child.kill('SIGSTOP');
    // Only the log has these, and perhaps all before.
    assert.equal(await handOverMany(road, 'only-in-log'), MESSAGES);
    remove(road.spool, ends);
    const acknowledged = await handOverMany(road, 'after');
    drain.child.kill('SIGTERM');
    drain.child.kill('SIGCONT');
    await drain.ended;
    const next = await road.drain(['--once']).ended;
    assert.equal(next.code, 0, next.stderr);
    const sent = road.deliveries().map(({ recipients }) => recipients[0]);
    for (const [name, number] of [
      ['before', MESSAGES],
      ['only-in-log', MESSAGES],
      ['after', acknowledged],
    ] as const) {
      assert.equal(sent.filter((address) => address?.startsWith(name)).length, number, name);
    }
    assert.equal(new Set(sent).size, sent.length, 'nothing was sent twice');
    const { accepted, sent: counted } = await road.stats();
    assert.equal(counted, accepted);
  });

  test(`law 7: ${names} removed while nobody else opens the spool: all that was acknowledged before is saved`, async (t) => {
    const road = new Road(t);
    const drain = road.drain([], { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' });
    await drain.says(/ started; /);
    assert.equal(await handOverMany(road, 'before'), MESSAGES);
    await drain.says(/is down/);
    assert.ok(statSync(join(road.spool, 'spool.db-wal')).size > 0);
    remove(road.spool, ends);
    assert.equal((await drain.ended).code, 74);
    assert.equal((await road.messages()).length, MESSAGES);
    assert.equal((await road.stats())['queued'], MESSAGES);
  });
}

test('law 1: what is written into files that were removed meanwhile is not acknowledged, nor is the new log removed', async (t) => {
  const spool = freshSpool(t, 'pipe');
  enqueue(spool, handOver({ eximId: 'old-0' }), 1000);
  assert.throws(
    () => spool.transaction(() => remove(spool.folder, ['-wal', '-shm'])),
    DatabaseReplacedError,
  );
  const input = bsmtp('s@example.com', ['r@example.org'], 'x\n');
  const args = ['new-0', '--spool', spool.folder];
  const handed = await run(t, inCheckout('exim/exim-pipe'), args, { input });
  assert.equal(handed.code, 0, String(handed.stdout));
  assert.throws(() => enqueue(spool, handOver({ eximId: 'old-1' }), 1000), DatabaseReplacedError);
  spool.close();
  // This process would see the new files through its old ones.
  const list = ['queue', 'list', '--json', '--spool', spool.folder];
  const { stdout } = await appengineMailer(t, list, { input: '' }).ended;
  assert.match(String(stdout), /"exim_id":"new-0"/);
});

test('law 2, law 7: what drain saved from a removed log is queued once, under its id, and what was held stays held', (t) => {
  const spool = freshSpool(t);
  const [id, known] = ['a'.repeat(32), 'b'.repeat(32)];
  const { envelope, pieces, digest: octets } = handOver();
  const bytes = Buffer.concat(pieces);
  const digest = octets.toString('hex');
  const save = (name: string, eximId: string, isHeld: boolean) => {
    // The first is of a version that saved no digest.
    const line = JSON.stringify({
      id: name,
      eximId,
      ...envelope,
      isHeld,
      ...(isHeld && { digest }),
    });
    writeFileSync(
      join(spool.folder, `rescued-${name}`),
      Buffer.concat([Buffer.from(`${line}\n`), bytes]),
    );
  };
  // Exim has handed this one over again meanwhile.
  enqueue(spool, handOver({ eximId: 'known-0' }), 1000);
  save(known, 'known-0', false);
  save(id, 'held-0', true);
  assert.equal(adoptRescued(spool, 2000, assert.fail), 1);
  save(id, 'held-0', true); // As if drain had died before it removed the file.
  assert.equal(adoptRescued(spool, 3000, assert.fail), 0);
  const found = readSpool(spool.folder);
  assert.deepEqual(
    found.map((message) => [message.eximId, message.state]),
    [
      ['known-0', 'queued'],
      ['held-0', 'held'],
    ],
  );
  assert.equal(found[1]?.id, id);
  assert.deepEqual(found[1].bytes, bytes);
  assert.ok(!readdirSync(spool.folder).some((name) => name.startsWith('rescued')));
});

test('law 3, law 7: a file in the place of a saved message that drain cannot have saved holds up no mail, and is kept', async (t) => {
  const road = new Road(t);
  await road.proxy();
  const sound = { id: 'a'.repeat(32), eximId: 'x-0', sender: '', recipients: ['r@example.org'] };
  const message = { ...sound, isHeld: false };
  const taken = new Spool(road.spool, 'drain');
  const { id } = enqueue(taken, handOver({ eximId: 'queued-0' }), taken.now());
  taken.close();
  const contents = [
    '',
    'null\n',
    '[]\n',
    '{}\n',
    'x\n',
    { ...message, recipients: [] },
    { ...message, recipients: 'r@example.org' },
    { ...message, recipients: [7] },
    { ...message, recipients: ['r@example.org\nx'] },
    { ...message, recipients: ['\ud800'] },
    { ...message, sender: null },
    { ...message, id: '../x' },
    { ...message, eximId: 'x y' },
    { ...message, isHeld: 'no' },
    { ...message, digest: 'ab' },
    { ...message, digest: 'ab'.repeat(32) }, // Of other bytes.
    { ...message, id }, // Another message has it.
  ].map((content) => (typeof content === 'string' ? content : `${JSON.stringify(content)}\nx\n`));
  const names = contents.map((_, number) => `rescued-${String(number).padStart(32, '0')}`);
  names.forEach((name, number) => writeFileSync(join(road.spool, name), contents[number] ?? ''));
  const drain = await road.drain(['--once']).ended;
  assert.equal(drain.code, 0, drain.stderr);
  assert.equal(road.deliveries().length, 1);
  for (const [number, name] of names.entries()) {
    assert.equal(readFileSync(join(road.spool, `${name}.damaged`), 'utf8'), contents[number]);
    assert.match(drain.stderr, new RegExp(`attention: .* cannot be read: \\S+${name}.damaged`));
  }
});

test('a saved message that can be neither read nor renamed holds up no mail', (t) => {
  const spool = freshSpool(t);
  const file = join(spool.folder, `rescued-${'a'.repeat(32)}`);
  writeFileSync(file, '{}\n');
  mkdirSync(`${file}.damaged`);
  const told: string[] = [];
  assert.equal(
    adoptRescued(spool, 2000, (each) => told.push(each)),
    0,
  );
  assert.deepEqual(told, [file]);
});

test('law 1: a command on a spool that is replaced under it fails', async (t) => {
  const folder = join(scratch(t), 'spool');
  mkdirSync(folder);
  handIn(folder, [{}]);
  const spool = new Spool(folder, 'operator');
  const file = join(folder, 'spool.db');
  cpSync(file, `${file}.restored`);
  renameSync(`${file}.restored`, file);
  assert.throws(
    () => spool.transaction(() => {}),
    /spool\.db was removed or replaced while it was open/,
  );
  spool.close();
});

for (const ends of [['-shm'], ['-wal', '-shm'], ['', '-wal', '-shm']] as const) {
  const names = ends.map((end) => `ledger.db${end}`).join(' and ');
  test(`law 6: ${names} removed under a proxy: it ends, and the next knows what is still to be known`, async (t) => {
    const road = new Road(t);
    const proxy = await road.proxy(['--backend', 'discard']);
    const id = 'a'.repeat(32);
    // Of a new file, the id is another one.
    const post = async () => {
      const { body } = await signedPost(road.address, { key: road.key, id });
      return body.toString().replace(/,"ledger":"\w+"/, '');
    };
    const first = await post();
    assert.match(first, /"2\./);
    for (const end of ends) rmSync(join(road.folder, `ledger.db${end}`));
    const { code, stderr } = await proxy.ended;
    assert.equal(code, 74, stderr);
    assert.match(
      stderr,
      /^attention: \S+ledger\.db\S* was removed or replaced .*: the proxy ends/m,
    );
    const next = await road.proxy(['--backend', 'discard']);
    assert.equal(next.stderr.includes('(empty)'), ends[0] === '');
    const again = (await post()).replace(',"sent_before":true', '');
    assert.equal(again, first);
  });
}

test('law 6: a ledger that is replaced under a proxy: the proxy takes nothing more, and the next has the new one', async (t) => {
  const road = new Road(t);
  const proxy = await road.proxy();
  const file = join(road.folder, 'ledger.db');
  await signedPost(road.address, { key: road.key });
  cpSync(file, `${file}.restored`);
  const { ino } = statSync(`${file}.restored`);
  renameSync(`${file}.restored`, file);
  assert.equal((await proxy.ended).code, 74);
  await road.proxy();
  const answer = await signedPost(road.address, { key: road.key });
  assert.equal(answer.status, 200);
  await until(
    () => statSync(file).ino === ino,
    () => 'the new ledger is not in place',
    1,
  );
});
