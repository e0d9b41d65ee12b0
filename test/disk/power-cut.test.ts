import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { Spool } from '../../src/spool/spool.ts';
import { stats } from '../../src/spool/stats.ts';
import { CutDisk } from '../support/cut-disk.ts';
import { figures, LONG } from '../support/figures.ts';
import { Intake } from '../support/lmtp.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run, start, type Program } from '../support/program.ts';
import { random } from '../support/random.ts';
import { readSpool } from '../support/read-spool.ts';
import { bsmtp, Road } from '../support/road.ts';
import { scratch } from '../support/scratch.ts';
import { signedPost } from '../support/signed-post.ts';
import { until } from '../support/until.ts';

// The power of a disk is cut again and again while writers run on it. What they were told is stored is
// compared with what is on the disk after each cut. The last two tests show that such a cut does take what
// was not waited for: without them the first two would prove nothing.

const CUTS = LONG ? 50 : 5;
const BETWEEN = 20;
const needed = { ...needs('root', 'ext4', 'xfs'), timeout: 3_600_000 };
const NORMAL = { NODE_OPTIONS: `--import=${inCheckout('test/support/synchronous-normal.mjs')}` };

test(
  'law 1, law 7, law 8: no power cut takes a message from the spool that exim-pipe or the LMTP server took',
  needed,
  async (t) => {
    const fresh = Array.from({ length: CUTS }, (_, index) => `fresh-${index + 1}`);
    const disk = await CutDisk.make(t, ['spool', ...fresh]);
    const enqueuer = enqueueOn(t, disk);
    const piped = pipeOn(t, disk);
    const byLmtp = await lmtpOn(t, disk);
    const drain = await drainOn(t, disk);

    const found = { cuts: CUTS, acknowledged: 0, lost: 0, sent: 0 };
    const before = async (cut: number) => {
      // Also the very first message of a spool, which exim-pipe makes for it.
      assert.ok(await pipe(t, join(disk.folder, `fresh-${cut}`), 'first', disk));
      return { acknowledged: [...enqueuer.stored(), ...piped, ...byLmtp], sent: drain.sent() };
    };
    const writers = [enqueuer, drain];
    const done = () => Math.min(drain.sent().length, piped.size * BETWEEN);
    await cutAgainAndAgain(t, { disk, writers, done, before }, (copy, told, cut) => {
      assert.deepEqual([...stored(join(copy, `fresh-${cut}`)).keys()], ['first']);
      const messages = stored(join(copy, 'spool'));
      const lost = told.acknowledged.filter((id) => !messages.has(id));
      assert.deepEqual(lost, [], `after cut ${cut}`);
      for (const [id, { state, bytes }] of messages) {
        assert.ok(state === 'sent' || bytes, `${id} is ${state} and has no body`);
      }
      for (const id of told.sent) assert.equal(messages.get(id)?.state, 'sent', id);
      found.acknowledged = told.acknowledged.length;
      found.sent = told.sent.length;
    });
    figures(t, 'power cuts, spool', found);
  },
);

test(
  'law 6, law 7: no power cut makes the ledger forget who was sent to, or takes what the file backend took',
  needed,
  async (t) => {
    const disk = await CutDisk.make(t, ['proxy']);
    const proxy = await postOn(t, disk);
    const found = { cuts: CUTS, acknowledged: 0, lost: 0, unknown: 0 };
    const before = () => [...proxy.sent];
    const done = () => proxy.sent.size;
    await cutAgainAndAgain(t, { disk, writers: [proxy], done, before }, async (copy, told, cut) => {
      const { sent, unknown } = await remembered(copy, told);
      const lost = told.filter((id) => !sent.has(id));
      assert.deepEqual(lost, [], `after cut ${cut}`);

      const delivered = deliveredIn(join(copy, 'proxy', 'delivered'));
      for (const id of told) assert.ok(delivered.has(id), `${id} is not delivered`);
      for (const id of delivered) {
        assert.ok(sent.has(id) || unknown.has(id), `${id} would be delivered again unseen`);
      }
      found.acknowledged = told.length;
      found.unknown += unknown.size;
    });
    figures(t, 'power cuts, ledger', found);
  },
);

test('the same cuts take messages from a spool with synchronous=NORMAL', needed, async (t) => {
  const disk = await CutDisk.make(t, ['spool']);
  const enqueuer = enqueueOn(t, disk, NORMAL);
  const found = { cuts: CUTS, acknowledged: 0, lost: 0 };
  const before = () => enqueuer.stored();
  const done = () => enqueuer.stored().length;
  await cutAgainAndAgain(t, { disk, writers: [enqueuer], done, before }, (copy, told) => {
    const messages = stored(join(copy, 'spool'));
    found.acknowledged = told.length;
    found.lost += told.filter((id) => !messages.has(id)).length;
  });
  figures(t, 'power cuts, spool with NORMAL', found);
  assert.ok(found.lost > 0, 'nothing is lost: the test of the spool proves nothing');
});

test('the same cuts take verdicts from a ledger with synchronous=NORMAL', needed, async (t) => {
  const disk = await CutDisk.make(t, ['proxy']);
  const proxy = await postOn(t, disk, NORMAL);
  const found = { cuts: CUTS, acknowledged: 0, lost: 0 };
  const before = () => [...proxy.sent];
  const done = () => proxy.sent.size;
  await cutAgainAndAgain(t, { disk, writers: [proxy], done, before }, async (copy, told) => {
    const { sent } = await remembered(copy, told);
    found.acknowledged = told.length;
    found.lost += told.filter((id) => !sent.has(id)).length;
  });
  figures(t, 'power cuts, ledger with NORMAL', found);
  assert.ok(found.lost > 0, 'nothing is lost: the test of the ledger proves nothing');
});

/**
 * Cuts the power at random moments, between which at least so much is `done`. `before` says, right before
 * each cut, what writers have been told; `look` compares that with what is on the disk. The writers rest
 * meanwhile: the disk stays small.
 */
async function cutAgainAndAgain<Told>(
  t: TestContext,
  {
    disk,
    writers,
    done,
    before,
  }: {
    disk: CutDisk;
    writers: { program: Program }[];
    done: () => number;
    before: (cut: number) => Told | Promise<Told>;
  },
  look: (copy: string, told: Told, cut: number) => void | Promise<void>,
): Promise<void> {
  const choices = random(t);
  for (let cut = 1; cut <= CUTS; cut += 1) {
    const enough = done() + BETWEEN;
    await until(
      () => done() >= enough,
      () => `${done()} of ${enough} done`,
    );
    await sleep(choices.below(500));
    const told = await before(cut);
    await disk.cut();
    for (const { program } of writers) program.child.kill('SIGSTOP');
    const copy = await disk.recovered();
    await look(copy, told, cut);
    rmSync(copy, { recursive: true });
    for (const { program } of writers) program.child.kill('SIGCONT');
  }
}

/** Stores messages in the spool on the disk all the time. `stored` says which are. */
function enqueueOn(t: TestContext, disk: CutDisk, env: NodeJS.ProcessEnv = {}) {
  const notes = join(scratch(t), 'notes'); // On no disk that is cut.
  const enqueuer = ['--import', 'tsx', inCheckout('test/support/enqueue-on.ts')];
  const args = [...enqueuer, join(disk.folder, 'spool'), notes];
  writeFileSync(notes, '');
  const program = start(t, ...disk.inside(process.execPath, ...args), { env });
  return { program, stored: () => readFileSync(notes, 'utf8').split('\n').slice(0, -1) };
}

/** Does the same with one exim-pipe after the other, two at a time. Returns what they have taken. */
function pipeOn(t: TestContext, disk: CutDisk): ReadonlySet<string> {
  const taken = new Set<string>();
  const end = new AbortController();
  t.after(() => end.abort());
  const inTurn = async (name: string) => {
    for (let number = 1; !end.signal.aborted; number += 1) {
      const id = `${name}-${number}`;
      if (await pipe(t, join(disk.folder, 'spool'), id, disk)) taken.add(id);
    }
  };
  for (const name of ['one', 'other']) void inTurn(name);
  return taken;
}

/** Does the same by LMTP, over four connections at a time. Returns what the server has taken. */
async function lmtpOn(t: TestContext, disk: CutDisk): Promise<ReadonlySet<string>> {
  const taken = new Set<string>();
  const spool = join(disk.folder, 'spool');
  const server = await Intake.start(t, { folder: scratch(t), spool, inside: disk.inside });
  const end = new AbortController();
  t.after(() => end.abort());
  const inTurn = async (name: string) => {
    for (let number = 1; !end.signal.aborted; number += 1) {
      const eximId = `lmtp-${name}-${number}`;
      const message = `Subject: ${eximId}\n\n${'x'.repeat(4000)}\n`;
      const text = await server.hear({ eximId, message }).catch(String);
      if (/^250 2\.0\.0 queued/m.test(text)) taken.add(eximId);
      await sleep(10); // The disk is small.
    }
  };
  for (const name of ['a', 'b', 'c', 'd']) void inTurn(name);
  return taken;
}

/** Hands a message to exim-pipe; whether it took it. */
async function pipe(t: TestContext, spool: string, id: string, disk: CutDisk): Promise<boolean> {
  const command = disk.inside(inCheckout('exim/exim-pipe'), id, '--spool', spool);
  const { code } = await run(t, ...command, {
    input: bsmtp('', ['r@example.org'], `Subject: ${id}\n\n${'x'.repeat(4000)}\n`),
  });
  return code === 0;
}

/** Empties the spool all the time into a proxy elsewhere. `sent` is what drain says of it. */
async function drainOn(t: TestContext, disk: CutDisk) {
  const road = new Road(t);
  await road.proxy(['--backend', 'discard']);
  const drain = [inCheckout('dist/bin/appengine-mailer.js'), 'drain'];
  const args = [...drain, '--spool', join(disk.folder, 'spool')];
  const env = { GMAIL_PROXY_URL: `http://${road.address}/`, GMAIL_SECRET_KEY: road.key };
  const program = start(t, ...disk.inside(process.execPath, ...args), { env });
  const sent = /^\w+ \(Exim (\S+)\) .* attempt \d+: \S+ sent /gm;
  return { program, sent: () => [...program.stderr.matchAll(sent)].map(([, id]) => id ?? '') };
}

/** Posts messages to a proxy on the disk all the time. `sent` are those of which it has said so. */
async function postOn(t: TestContext, disk: CutDisk, env: NodeJS.ProcessEnv = {}) {
  const key = 'a secret key';
  const folder = join(disk.folder, 'proxy');
  const listen = [inCheckout('dist/bin/appengine-mailer.js'), 'proxy', '--listen', '127.0.0.1:0'];
  const files = ['--ledger', join(folder, 'ledger.db'), '--dir', join(folder, 'delivered')];
  const command = disk.inside(process.execPath, ...listen, ...files);
  const program = start(t, ...command, { env: { GMAIL_SECRET_KEY: key, ...env } });
  const [, address = ''] = await program.says(/proxy listens on (\S+),/);

  const sent = new Set<string>();
  const agent = new Agent({ keepAlive: true });
  const end = new AbortController();
  t.after(() => {
    end.abort();
    agent.destroy();
  });
  const inTurn = async () => {
    while (!end.signal.aborted) {
      const id = randomBytes(16).toString('hex');
      const post = { key, id, recipients: [RECIPIENT], bytes: bytesOf(id), agent };
      const answer = await signedPost(address, post).catch(() => undefined);
      if (answer?.status === 200 && answer.body.includes('"2.0.0"')) sent.add(id);
    }
  };
  for (let posts = 0; posts < 16; posts += 1) void inTurn();
  return { program, sent };
}

const RECIPIENT = 'r@example.org';
const bytesOf = (id: string) => Buffer.from(`Subject: ${id}\n\n${id.repeat(100)}\n`);

/** The messages of a spool after a cut, by Exim id, once the product has opened it. */
function stored(folder: string) {
  const spool = new Spool(folder, 'drain');
  const { accepted, ...states } = stats(spool).counters;
  spool.close();
  const sum = Object.values(states).reduce((total, count) => total + count, 0);
  assert.equal(accepted, sum, 'law 8');
  return new Map(readSpool(folder).map((message) => [message.eximId, message]));
}

/** What a proxy finds in its ledger after a cut: who was sent to, also of these ids, and who is unknown. */
async function remembered(copy: string, ids: readonly string[]) {
  const file = join(copy, 'proxy', 'ledger.db');
  const ledger = new SqliteLedger(file);
  const sent = new Set<string>();
  for (const id of ids) {
    const digest = createHash('sha256').update(bytesOf(id)).digest();
    const known = await ledger.known({ key: '', id }, [RECIPIENT], digest);
    if (known.get(RECIPIENT)?.status === '2.0.0') sent.add(id);
    else await ledger.begin({ key: '', id }, digest, [RECIPIENT]);
  }
  ledger.close();

  const db = new Database(file, { readonly: true });
  assert.deepEqual(db.pragma('integrity_check'), [{ integrity_check: 'ok' }]);
  const unknown = new Set(db.prepare<[], string>('SELECT message FROM unknown').pluck().all());
  // Also those whose answer was not heard.
  const rows = `SELECT message FROM recipient WHERE state = 'sent'`;
  for (const id of db.prepare<[], string>(rows).pluck().all()) sent.add(id);
  db.close();
  return { sent, unknown };
}

/** Ids of the messages that were delivered; each with its bytes. */
function deliveredIn(folder: string): Set<string> {
  const names = readdirSync(folder).filter((name) => name.endsWith('.eml'));
  return new Set(
    names.map((name) => {
      const id = name.slice(0, 32);
      assert.deepEqual(readFileSync(join(folder, name)), bytesOf(id));
      return id;
    }),
  );
}
