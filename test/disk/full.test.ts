import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { Spool } from '../../src/spool/spool.ts';
import { figures, LONG, timeLimit } from '../support/figures.ts';
import { fillSpool } from '../support/fill-spool.ts';
import { Intake } from '../support/lmtp.ts';
import { mountedImage, type Inside } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run, start, type Program } from '../support/program.ts';
import { random } from '../support/random.ts';
import { bsmtp, Road } from '../support/road.ts';
import { signedPost } from '../support/signed-post.ts';
import { until } from '../support/until.ts';

const ROUNDS = LONG ? 40 : 3;
const QUEUED = 800;

/** A small disk of its own for a spool, or a ledger, and the programs that work on it. */
class Disk {
  readonly road: Road;
  readonly folder: string;
  readonly #inside: Inside;

  private constructor(road: Road, folder: string, inside: Inside) {
    this.road = road;
    this.folder = folder;
    this.#inside = inside;
  }

  static async of(t: TestContext): Promise<Disk> {
    const road = new Road(t);
    const folder = join(road.folder, 'disk');
    mkdirSync(folder);
    const inside = await mountedImage(t, join(road.folder, 'image'), folder, 32 << 20);
    return new Disk(road, folder, inside);
  }

  async run(file: string, args: string[], input: Buffer | string = '') {
    return run(this.road.t, ...this.#inside(file, ...args), { input });
  }

  start(...args: string[]): Program {
    const line = [inCheckout('dist/bin/appengine-mailer.js'), ...args];
    const [file, words] = this.#inside(process.execPath, ...line);
    const env = {
      GMAIL_PROXY_URL: `http://${this.road.address}/`,
      GMAIL_SECRET_KEY: this.road.key,
      APPENGINE_MAILER_NOTICE_SMTP: '127.0.0.1:1',
    };
    return start(this.road.t, file, words, { env, cwd: this.folder });
  }

  /** Takes all that is free. */
  async fill(): Promise<void> {
    await this.run('/bin/sh', ['-c', 'cat /dev/zero > "$0/filler"', this.folder]);
  }

  async free(): Promise<void> {
    await this.run('rm', ['-f', join(this.folder, 'filler')]);
  }

  /** Turns read-only, as ext4 does after errors of the disk. */
  async fail(): Promise<void> {
    const { code, stderr } = await this.run('mount', ['-o', 'remount,abort', this.folder]);
    assert.equal(code, 0, stderr);
  }

  /** Is unmounted, checked and mounted again, as an administrator does. Nobody may have it open. */
  async freeSpace(): Promise<void> {
    const script = 'umount "$1" && { e2fsck -fy "$0" || [ $? = 1 ]; } && mount -o loop "$0" "$1"';
    const image = join(this.road.folder, 'image');
    const { code, stderr } = await this.run('/bin/sh', ['-c', script, image, this.folder]);
    assert.equal(code, 0, stderr);
  }

  async pipe(eximId: string, lines = 50) {
    const text = `${'x'.repeat(79)}\n`.repeat(lines);
    const input = bsmtp('s@x.example', ['r@x.example'], `Subject: ${eximId}\n\n${text}`);
    return this.run(inCheckout('exim/exim-pipe'), [eximId, '--spool', this.folder], input);
  }

  /** Queues so many messages. */
  async queue(count: number): Promise<void> {
    const spool = new Spool(this.road.spool, 'drain');
    fillSpool(spool, count, { now: spool.now(), message: `Subject: x\n\n${'x'.repeat(4000)}\n` });
    spool.close();
    const { code, stderr } = await this.run('cp', ['-a', `${this.road.spool}/.`, this.folder]);
    assert.equal(code, 0, stderr);
  }

  /** Starts the LMTP server on the disk; its socket is elsewhere. */
  async intake(): Promise<Intake> {
    const { t, folder } = this.road;
    return Intake.start(t, { folder, spool: this.folder, inside: this.#inside });
  }

  async counters(): Promise<Record<string, number>> {
    const { stdout, stderr } = await this.run(process.execPath, [
      inCheckout('dist/bin/appengine-mailer.js'),
      'queue',
      'stats',
      '--json',
      `--spool=${this.folder}`,
    ]);
    assert.equal(stderr, '');
    return JSON.parse(stdout.toString()) as Record<string, number>;
  }
}

async function whileSuspended({ child }: Program, action: () => Promise<void>): Promise<void> {
  child.kill('SIGSTOP');
  await action();
  child.kill('SIGCONT');
}

test(
  'law 1, law 6, law 7: a disk that fills up at any moment: nothing lost, nothing doubled',
  { ...needs('root', 'ext4'), timeout: timeLimit(600_000) },
  async (t) => {
    const choice = random(t);
    const disk = await Disk.of(t);
    await disk.road.proxy();
    const drain = disk.start('drain', '--spool', disk.folder);
    await drain.says(/started/);
    let [accepted, refused, number] = [0, 0, 0];
    const hand = async () => {
      number += 1;
      const { code, stdout } = await disk.pipe(`1x-${number}`);
      assert.ok(code === 0 || code === 75, String(stdout));
      if (code === 0) accepted += 1;
      else refused += 1;
      return code;
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let more = choice.below(4); more > 0; more -= 1) await hand();
      await Promise.all([disk.fill(), hand()]);
      assert.equal(await hand(), 75);
      await disk.free();
      assert.equal(await hand(), 0);
    }
    await until(
      async () => (await disk.counters())['sent'] === accepted,
      () => drain.stderr,
      120,
    );
    const subjects = disk.road
      .deliveries()
      .map(({ bytes }) => /Subject: \S+/.exec(String(bytes))?.[0]);
    assert.equal(new Set(subjects).size, accepted);
    assert.equal(subjects.length, accepted, 'nothing is delivered twice');
    const ids = [...drain.stderr.matchAll(/^(\w{32}) .*> sent \(/gm)].map(([, id]) => id);
    assert.equal(new Set(ids).size, ids.length, 'nothing is sent twice');
    const trouble = drain.stderr.match(/cannot be written/g)?.length ?? 0;
    figures(t, 'a disk that fills up', { accepted, refused, 'drain stopped sending': trouble });
    assert.ok(refused >= ROUNDS);
    assert.equal((await drain.stop()).code, 0);
  },
);

test(
  'law 7: drain sends what is queued when the disk has become full meanwhile',
  { ...needs('root', 'ext4'), timeout: 120_000 },
  async (t) => {
    const disk = await Disk.of(t);
    await disk.queue(QUEUED);
    await disk.road.proxy(['--backend', 'discard']);
    const drain = disk.start('drain', '--spool', disk.folder);
    await drain.says(/ sent /, QUEUED / 4);
    await whileSuspended(drain, async () => disk.fill());
    await drain.says(/ sent /, QUEUED);
    assert.equal((await drain.stop()).code, 0);
  },
);

test(
  'law 7: a small disk that queued mail has filled: drain finds room for its log, and sends all',
  { ...needs('root', 'ext4'), timeout: 120_000 },
  async (t) => {
    const disk = await Disk.of(t);
    await disk.road.proxy(['--backend', 'discard']);
    const drain = disk.start('drain', '--spool', disk.folder);
    await drain.says(/started/);
    let accepted = 0;
    // It has the spool open, so that no pipe copies the log when it ends.
    await whileSuspended(drain, async () => {
      while ((await disk.pipe(`1x-${accepted}`, 5000)).code === 0) accepted += 1;
    });
    assert.ok(accepted > 20, `${accepted} messages of 400 KB`);
    await drain.says(/ sent /, accepted);
    assert.equal((await drain.stop()).code, 0);
  },
);

test(
  'law 6: a proxy whose ledger is on a full disk refuses, and takes mail again when there is room',
  { ...needs('root', 'ext4'), timeout: 120_000 },
  async (t) => {
    const disk = await Disk.of(t);
    const proxy = disk.start(
      'proxy',
      '--listen=127.0.0.1:0',
      `--dir=${disk.road.delivered}`,
      `--ledger=${join(disk.folder, 'ledger.db')}`,
    );
    const [, address = ''] = await proxy.says(/proxy listens on (\S+),/);
    let [number, refused] = [0, 0];
    const post = async () => {
      number += 1;
      const id = number.toString(16).padStart(32, '0');
      const recipients = Array.from(
        { length: 50 },
        (_, at) => `r${at}-${'x'.repeat(150)}@x.example`,
      );
      return (await signedPost(address, { key: disk.road.key, id, recipients })).status;
    };
    assert.equal(await post(), 200);
    await disk.fill();
    // Free space in the log and in the file is used up first.
    for (let status = 200; status === 200; refused = status) status = await post();
    assert.equal(refused, 503);
    await proxy.says(/no mail is taken: the ledger cannot be written: .*full/);
    const delivered = disk.road.deliveries().length;
    assert.equal(await post(), 503);
    assert.equal(
      disk.road.deliveries().length,
      delivered,
      'nothing is sent that cannot be remembered',
    );
    await disk.free();
    assert.equal(await post(), 200);
    await proxy.stop();
  },
);

test(
  'law 1, law 6, law 7: a disk that turns read-only: 75, nothing is sent; after it is fixed all goes out, once',
  { ...needs('root', 'ext4'), timeout: 120_000 },
  async (t) => {
    const disk = await Disk.of(t);
    for (const number of [1, 2, 3]) assert.equal((await disk.pipe(`1x-${number}`)).code, 0);
    await disk.road.proxy();
    await disk.fail();
    const refused = await disk.pipe('1x-4');
    assert.equal(refused.code, 75, String(refused.stdout));
    const early = await disk.start('drain', '--spool', disk.folder).ended;
    assert.equal(early.code, 74);
    assert.match(early.stderr, /read-only here: see whether its disk has failed/);
    await disk.freeSpace();

    const drain = disk.start('drain', '--spool', disk.folder);
    await drain.says(/> sent \(/, 3);
    await disk.fail();
    assert.equal((await disk.pipe('1x-5')).code, 75);
    await drain.stop();
    await disk.freeSpace();
    assert.equal((await disk.pipe('1x-6')).code, 0);
    const next = disk.start('drain', '--spool', disk.folder);
    await next.says(/1x-6.*> sent \(/);
    await next.stop();
    const { accepted, sent } = await disk.counters();
    assert.deepEqual([accepted, sent], [4, 4]);
    assert.equal(disk.road.deliveries().length, 4);
  },
);

test(
  'law 1, law 5, law 7: a disk that fills up at any moment, or fails: the LMTP server says 4xx, and goes on when there is room',
  { ...needs('root', 'ext4'), timeout: timeLimit(600_000) },
  async (t) => {
    const choice = random(t);
    const disk = await Disk.of(t);
    const server = await disk.intake();
    let [accepted, number] = [0, 0];
    const hand = async () => {
      number += 1;
      const mail = { eximId: `1x-${number}`, message: `Subject: x\n\n${'x'.repeat(4000)}\n` };
      const [reply = ''] = await server.take(mail);
      assert.match(
        reply,
        /^(?:250 2\.0\.0 queued|45[12] 4\.3\.[01] not queued, try again later: )/,
      );
      if (reply.startsWith('250')) accepted += 1;
      return reply;
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      await Promise.all(Array.from({ length: choice.below(4) }, hand));
      await Promise.all([disk.fill(), hand()]);
      assert.match(await hand(), /^452 4\.3\.1 .*only .* free in \S+, and .* are kept free$/);
      await disk.free();
      assert.match(await hand(), /^250/);
    }
    await disk.fail();
    assert.match(
      await hand(),
      /^451 4\.3\.0 .*(?:readonly database|disk I\/O error|unable to open)/,
    );
    await disk.freeSpace(); // The server has closed the spool.
    assert.match(await hand(), /^250/);
    assert.equal((await disk.counters())['accepted'], accepted);
    figures(t, 'disk full, LMTP', { rounds: ROUNDS, accepted, refused: number - accepted });
  },
);
