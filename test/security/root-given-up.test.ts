import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { SqliteLedger } from '../../src/proxy/ledger/sqlite/sqlite-ledger.ts';
import { operate } from '../../src/spool/operate.ts';
import { Spool } from '../../src/spool/spool.ts';
import { account } from '../support/account.ts';
import { asOwner } from '../support/as-owner.ts';
import { handIn } from '../support/hand-in.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, inCheckout, run, start, type Ended } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { plantJournal, type Member } from '../support/super-journal.ts';

/** A spool and a ledger as the packages make them, one message, a member of the group, and a file of root's. */
class Machine {
  readonly road: Road;
  readonly state: string;
  readonly ledger: string;
  readonly id: string;
  readonly member: Member;
  readonly victim: string;

  constructor(t: TestContext) {
    this.road = new Road(t);
    const { uid, gid } = account();
    this.member = { uid: 12_345, gid };
    chmodSync(this.road.folder, 0o711); // The account and the member pass through it.
    this.state = join(this.road.folder, 'state');
    mkdirSync(this.state);
    for (const folder of [this.road.spool, this.state]) {
      chownSync(folder, uid, gid);
      chmodSync(folder, 0o2770);
    }
    this.ledger = join(this.state, 'ledger.db');
    asOwner(this.state, () => new SqliteLedger(this.ledger).close());
    const [id = ''] = handIn(this.road.spool, [{}]);
    this.id = id;
    this.victim = join(this.road.folder, 'victim');
    writeFileSync(this.victim, 'root:x:0:0\n', { mode: 0o600 });
  }

  /** Runs a command as root. */
  async asRoot(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    return appengineMailer(this.road.t, args, { input: '', env }).ended;
  }
}

type Way = [
  what: string,
  file: 'spool.db' | 'drain.lock' | 'return.lock' | 'ledger.db' | 'ledger.db.lock',
  runs: (machine: Machine) => Promise<unknown>,
];

const queue =
  (...args: string[]) =>
  async (machine: Machine) =>
    machine.asRoot(['queue', ...args, '--spool', machine.road.spool]);

const ledger =
  (...args: string[]) =>
  async (machine: Machine) =>
    machine.asRoot(['ledger', ...args, '--ledger', machine.ledger]);

const ways: Way[] = [
  ['queue', 'spool.db', queue('list')],
  ['queue', 'drain.lock', queue('list')],
  ['queue explain', 'drain.lock', async (machine) => queue('explain', machine.id)(machine)],
  ['queue release', 'return.lock', async (machine) => releaseReturned(machine)],
  ['queue stats', 'spool.db', queue('stats')],
  ['queue return', 'return.lock', queue('return', '--all', '--exim', '/bin/false')],
  ['queue fsck', 'spool.db', queue('fsck')],
  ['queue fsck', 'drain.lock', queue('fsck')],
  ['queue fsck --check', 'spool.db', queue('fsck', '--check')],
  ['queue fsck --ledger', 'ledger.db', async (machine) => fsckLedger(machine)],
  ['queue fsck --ledger', 'ledger.db.lock', async (machine) => fsckLedger(machine)],
  ['ledger fsck', 'ledger.db', ledger('fsck')],
  ['ledger fsck', 'ledger.db.lock', ledger('fsck')],
  ['ledger list', 'ledger.db', ledger('list')],
  ['ledger show', 'ledger.db', ledger('show', 'an-id')],
  ['ledger stats', 'ledger.db', ledger('stats')],
  ['check', 'spool.db', async (machine) => check(machine)],
  ['check', 'drain.lock', async (machine) => check(machine)],
  ['exim-pipe', 'spool.db', async ({ road }) => road.pipe('1abc', bsmtp('', ['r@a.b'], 'x\n'))],
  ['drain', 'drain.lock', async (machine) => drainOnce(machine)],
  ['drain', 'spool.db', async (machine) => drainOnce(machine)],
  ['migrate-spool', 'drain.lock', async (machine) => migrate(machine)],
  ['migrate-spool', 'spool.db', async (machine) => migrate(machine)],
  ['proxy', 'ledger.db.lock', async (machine) => proxy(machine)],
  ['proxy', 'ledger.db', async (machine) => proxy(machine)],
  ['proxy check', 'ledger.db.lock', async (machine) => proxyCheck(machine)],
  ['proxy check', 'ledger.db', async (machine) => proxyCheck(machine)],
];

/** Of a message whose return was cut off, which asks whether some program returns it. */
async function releaseReturned(machine: Machine): Promise<unknown> {
  const { road, id } = machine;
  asOwner(road.spool, () => {
    const spool = new Spool(road.spool, 'operator');
    assert.equal(operate(spool, id, { verb: 'return', now: spool.now() }), 'done');
    spool.close();
  });
  return queue('release', id)(machine);
}

const fsckLedger = async (machine: Machine) =>
  machine.asRoot(['queue', 'fsck', '--ledger', machine.ledger]);

const check = async (machine: Machine) =>
  machine.asRoot(['check', '--spool', machine.road.spool, '--proxy-url', 'http://127.0.0.1:1/']);

const proxyCheck = async (machine: Machine) =>
  machine.asRoot(['proxy', 'check', '--ledger', machine.ledger]);

const drainOnce = async ({ road }: Machine) =>
  road.drain(['--once'], { GMAIL_PROXY_URL: 'http://127.0.0.1:1/' }).ended;

const migrate = async ({ road }: Machine) =>
  run(road.t, process.execPath, [inCheckout('dist/bin/migrate-spool.js')], {
    env: { APPENGINE_MAILER_SPOOL: road.spool },
  });

async function proxy({ road, ledger: file }: Machine): Promise<void> {
  const args = ['proxy', '--listen', '127.0.0.1:0', '--backend', 'discard', '--ledger', file];
  const program = appengineMailer(road.t, args, { env: { GMAIL_SECRET_KEY: road.key } });
  await Promise.race([program.says(/listens on/).catch(() => {}), program.ended]);
  await program.stop();
}

for (const [what, name, runs] of ways) {
  test(
    `law 14: a journal that a member of the group has put beside ${name} removes no file of root’s when root runs ${what}`,
    needs('root'),
    async (t) => {
      const machine = new Machine(t);
      const folder = name.startsWith('ledger') ? machine.state : machine.road.spool;
      const file = join(folder, name);
      plantJournal(machine.member, file, machine.victim, name.endsWith('.lock'));
      await runs(machine);
      assert.ok(existsSync(machine.victim), 'root has removed it');
    },
  );
}

test(
  'law 14: a link that a member of the group puts in the place of spool.db.new, while root runs queue fsck, leads it nowhere',
  needs('root'),
  async (t) => {
    const machine = new Machine(t);
    const { road, member } = machine;
    const file = join(road.spool, 'spool.db');
    writeFileSync(machine.victim, '');
    asOwner(road.spool, () => {
      const db = new Database(file);
      db.exec(`UPDATE counter SET messages = 7 WHERE name = 'held'`);
      db.close();
    });
    const damaged = readFileSync(file);
    const attack = `
      const { linkSync, lstatSync, renameSync, rmSync, symlinkSync } = require('node:fs');
      process.chdir(process.argv[1]);
      process.stderr.write('ready\\n');
      for (;;) {
        symlinkSync(process.argv[2], 'link');
        while (!lstatSync('spool.db.new', { throwIfNoEntry: false })?.isFile());
        try { renameSync('link', 'spool.db.new'); } catch { rmSync('link'); }
      }`;
    const ids = [`--reuid=${member.uid}`, `--regid=${member.gid}`, '--clear-groups'];
    const attacker = start(t, 'setpriv', [
      ...ids,
      process.execPath,
      '-e',
      attack,
      road.spool,
      machine.victim,
    ]);
    await attacker.says(/ready/);
    for (let tries = 0; tries < 12; tries += 1) {
      await machine.asRoot(['queue', 'fsck', '--spool', road.spool]);
      assert.equal(statSync(machine.victim).size, 0, `root has written into it, try ${tries}`);
      for (const name of readdirSync(road.spool)) {
        if (name.startsWith('spool.db')) rmSync(join(road.spool, name), { force: true });
      }
      asOwner(road.spool, () => writeFileSync(file, damaged, { mode: 0o660 }));
    }
  },
);

test(
  'law 14: root opens nothing in a folder of its own that others can write to or exchange, and says what to do',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    const list = async (folder: string) =>
      appengineMailer(t, ['queue', '--spool', folder], { input: '' }).ended;
    handIn(road.spool, [{}]);
    assert.equal((await list(road.spool)).code, 0);

    chownSync(road.spool, 0, gid);
    chmodSync(road.spool, 0o2770);
    const shared = await list(road.spool);
    assert.equal(shared.code, 77);
    assert.match(shared.stderr, /root opens nothing in \S+spool: .*give it to the account/);
    const pipe = await road.pipe('1abc', bsmtp('', ['r@a.b'], 'x\n'));
    assert.equal(pipe.code, 75);
    assert.match(pipe.stdout.toString(), /root opens nothing in/);

    chmodSync(road.spool, 0o700);
    const theirs = join(road.folder, 'theirs');
    mkdirSync(theirs);
    chownSync(theirs, uid, gid);
    mkdirSync(join(theirs, 'spool'));
    assert.match((await list(join(theirs, 'spool'))).stderr, /can exchange it, in \S+theirs\n/);
    symlinkSync(road.spool, join(theirs, 'link'));
    assert.match((await list(join(theirs, 'link'))).stderr, /can exchange it, in \S+theirs\n/);
  },
);

test(
  'law 14: root runs nothing with its own group for a folder of another’s whose group is root, and says what to do',
  needs('root'),
  async (t) => {
    const machine = new Machine(t);
    const { road, state, ledger: file, member } = machine;
    const { uid } = account();
    for (const folder of [road.spool, state]) chownSync(folder, uid, 0);
    const refused = new RegExp(
      `root opens nothing in \\S+: it belongs to uid ${uid}, and to the group root: .*\\(chown ${uid}: /`,
    );
    for (const args of [
      ['queue', 'list', '--spool', road.spool],
      ['queue', 'fsck', '--spool', road.spool],
      ['queue', 'fsck', '--ledger', file],
      ['proxy', '--ledger', file, '--listen', '127.0.0.1:0'],
    ]) {
      const { code, stderr } = await machine.asRoot(args, { GMAIL_SECRET_KEY: road.key });
      assert.equal(code, 77, args.join(' '));
      assert.match(stderr, refused);
    }
    const pipe = await road.pipe('1abc', bsmtp('', ['r@a.b'], 'x\n'));
    assert.equal(pipe.code, 75);
    assert.match(pipe.stdout.toString(), refused);
    const checked = await machine.asRoot(['check', '--spool', road.spool]);
    assert.match(checked.stdout.toString(), refused);

    for (const folder of [road.spool, state]) chownSync(folder, uid, member.gid);
    assert.equal((await machine.asRoot(['queue', 'list', '--spool', road.spool])).code, 0);
  },
);

test(
  'law 14: root looks at each link of a chain that leads to a folder of its own, and at the folder of each',
  needs('root'),
  async (t) => {
    const road = new Road(t);
    const { uid, gid } = account();
    const list = async (folder: string, cwd = '/') =>
      appengineMailer(t, ['queue', '--spool', folder], { cwd, input: '' }).ended;
    handIn(road.spool, [{}]);
    const theirs = join(road.folder, 'theirs');
    const ours = join(road.folder, 'ours');
    for (const folder of [theirs, ours]) mkdirSync(folder);
    symlinkSync(road.spool, join(theirs, 'last'));
    symlinkSync('../theirs/last', join(ours, 'middle'));
    symlinkSync(join(ours, 'middle'), join(ours, 'first'));
    assert.equal((await list(join(ours, 'first'))).code, 0, 'all is root’s');
    assert.equal((await list('ours/../ours/first', road.folder)).code, 0);

    chownSync(theirs, uid, gid);
    for (const [folder, cwd] of [
      [join(ours, 'first'), '/'],
      [`${ours}/../ours/middle`, '/'],
      ['first', ours],
    ] as const) {
      const { code, stderr } = await list(folder, cwd);
      assert.equal(code, 77, stderr);
      assert.match(stderr, /others than root can exchange it, in \S+theirs\n/);
    }
    chownSync(theirs, 0, 0);
    assert.equal((await list(join(ours, 'first'))).code, 0);
    lchownSync(join(ours, 'middle'), uid, gid);
    assert.match((await list(join(ours, 'first'))).stderr, /can exchange it, in \S+middle\n/);
  },
);
