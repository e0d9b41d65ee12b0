import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { mounted, type Inside } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';

const MB = 1_000_000;
const recipients = ['one@x.example'];
const small = bsmtp('', recipients, 'Subject: small\n\ntest\n');
const large = bsmtp('', recipients, `${'x'.repeat(79)}\n`.repeat(100_000));

test(
  'law 1: below 5 % of free space 75, above it 0, however much of the file is free; check says so',
  needs('root'),
  async (t) => {
    const disk = await Disk.of(t, 'size=64M'); // 5 % are 3.4 MB.
    assert.match(await disk.pipe('large', large), /^0 queued/);
    await disk.leave(4 * MB);
    assert.match(await disk.pipe('above', small), /^0 queued/);

    await disk.leave(2 * MB);
    const refusal = /^75 not queued, .*only 2\.\d MB free in \S+, and 3\.\d MB are kept free\n$/;
    assert.match(await disk.pipe('below', small), refusal);
    assert.equal(await disk.accepted(), 2);

    // The file keeps the 8 MB of a message that is deleted, but the log, which is written first, needs room of its own.
    await disk.queue('delete', await disk.idOf('large'));
    await disk.leave(2 * MB);
    assert.match(await disk.pipe('below', small), refusal);
    const program = inCheckout('dist/bin/appengine-mailer.js');
    const check = [process.execPath, program, 'check', '--spool', disk.road.spool];
    assert.match(
      await disk.inside('sh', '-c', '"$@" || true', 'sh', ...check),
      /^FAULT +space: only 2\.\d MB free/m,
    );
  },
);

test(
  'law 1: a disk that is full while the message is written: 75, and the spool goes on afterwards',
  needs('root'),
  async (t) => {
    const disk = await Disk.of(t, 'size=64M');
    await disk.pipe('seed', small);
    await disk.leave(5 * MB); // Enough for the guard, not for the message.
    assert.match(await disk.pipe('large', large), /^75 not queued, .*disk is full\n$/);
    assert.equal(await disk.accepted(), 1);
    await disk.leave(40 * MB);
    assert.match(await disk.pipe('large', large), /^0 queued/);
    assert.equal(await disk.accepted(), 2);
  },
);

test('law 1: with too few inodes left 75', needs('root'), async (t) => {
  const disk = await Disk.of(t, 'size=64M,nr_inodes=110');
  assert.match(await disk.pipe('first', small), /^0 queued/);
  await disk.inside('/bin/sh', '-c', 'cd "$0" && touch 1 2 3 4 5 6 7 8 9 10', disk.road.spool);
  assert.match(await disk.pipe('second', small), /^75 .*only \d\d inodes free in/);
  assert.equal(await disk.accepted(), 1);
});

/** A road whose spool is a small disk of its own. */
class Disk {
  readonly road: Road;
  readonly #inside: Inside;

  private constructor(road: Road, inside: Inside) {
    this.road = road;
    this.#inside = inside;
  }

  static async of(t: TestContext, options: string): Promise<Disk> {
    const road = new Road(t);
    return new Disk(road, await mounted(t, road.spool, options));
  }

  /** Runs a command that sees the disk; returns what it printed. */
  async inside(file: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(this.road.t, ...this.#inside(file, ...args));
    assert.equal(code, 0, `${file} ${args.join(' ')}: ${stderr}`);
    return stdout.toString();
  }

  /** Fills the disk, or empties it, until so many bytes are left. */
  async leave(bytes: number): Promise<void> {
    const filler = `${this.road.spool}/filler`;
    await this.inside('rm', '-f', filler);
    const text = await this.inside('stat', '-f', '-c', '%a %S', this.road.spool);
    const [blocks = 0, size = 0] = text.split(' ').map(Number);
    await this.inside('fallocate', '-l', `${blocks * size - bytes}`, filler);
  }

  /** Hands a message over; returns exit code and line. */
  async pipe(eximId: string, input: Buffer): Promise<string> {
    const line = this.#inside(inCheckout('exim/exim-pipe'), eximId, '--spool', this.road.spool);
    const { code, stdout } = await run(this.road.t, ...line, { input });
    return `${code} ${stdout.toString()}`;
  }

  /** Runs `appengine-mailer queue ARGS…`. */
  async queue(...args: string[]): Promise<string> {
    const program = inCheckout('dist/bin/appengine-mailer.js');
    return this.inside(process.execPath, program, 'queue', ...args, '--spool', this.road.spool);
  }

  async idOf(eximId: string): Promise<string> {
    const lines = (await this.queue('list', '--json')).trim().split('\n');
    const messages = lines.map((line) => JSON.parse(line) as { id: string; exim_id: string });
    return messages.find((message) => message.exim_id === eximId)?.id ?? '';
  }

  async accepted(): Promise<number> {
    const stats = JSON.parse(await this.queue('stats', '--json')) as { accepted: number };
    return stats.accepted;
  }
}
