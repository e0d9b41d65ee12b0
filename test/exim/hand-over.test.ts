import assert from 'node:assert/strict';
import { chmodSync, chownSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { account } from '../support/account.ts';
import { mounted } from '../support/mounted.ts';
import { needs } from '../support/needs.ts';
import { inCheckout, run, start, type Ended } from '../support/program.ts';
import { bsmtp, Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';

const launcher = inCheckout('exim/exim-pipe');
const message = 'Subject: test\n\ntest\n';

// Three at a time: the first two only wait.
suite('The launcher, handing one message over', { concurrency: 3 }, () => {
  for (const seeds of [1, 0]) {
    const spool = seeds === 1 ? 'a spool' : 'a spool that is just being made';
    test(`law 1: somebody else's lock on ${spool} is waited for, longer than SQLite does by default`, async (t) => {
      const road = new Road(t);
      if (seeds === 1) await road.pipe('seed', bsmtp('', ['seed@x.example'], message));
      const other = new Database(join(road.spool, 'spool.db'));
      other.exec('BEGIN EXCLUSIVE');
      const ending = road.pipe('waits', bsmtp('', ['one@x.example'], message));
      await sleep(6000); // better-sqlite3 gives up after 5 s unless told otherwise.
      other.close();
      idOf('queued', await ending);
      assert.equal(stored(road.spool).length, seeds + 1);
    });
  }

  test('it prints one line: queued and the id, or already queued and the same id (law 2)', async (t) => {
    const road = new Road(t);
    const input = bsmtp('s@x.example', ['one@x.example', 'two@x.example'], message);
    const id = idOf('queued', await road.pipe('1abc', input));
    assert.equal(idOf('already queued', await road.pipe('1abc', input)), id);
    const reversed = bsmtp('s@x.example', ['two@x.example', 'one@x.example'], message);
    assert.equal(idOf('already queued', await road.pipe('1abc', reversed)), id);
    assert.deepEqual(contents(road), [[id, 's@x.example', 'one@x.example two@x.example', message]]);

    const [listed, ...more] = await road.messages();
    assert.deepEqual(more, []);
    assert.deepEqual(
      [listed?.['id'], listed?.['exim_id'], listed?.['state']],
      [id, '1abc', 'queued'],
    );
    assert.equal((await road.stats())['accepted'], 1);
  });

  test('law 2: handed over again with one more recipient, only that one is stored', async (t) => {
    const road = new Road(t);
    const first = idOf('queued', await road.pipe('1abc', bsmtp('', ['a@x', 'b@x'], message)));
    const more = bsmtp('', ['a@x', 'new@x', 'b@x', 'new@x'], message);
    const second = idOf('queued', await road.pipe('1abc', more));
    assert.equal(idOf('already queued', await road.pipe('1abc', more)), first);
    assert.deepEqual(contents(road), [
      [first, '', 'a@x b@x', message],
      [second, '', 'new@x', message],
    ]);
  });

  test('law 2: the same Exim id with other bytes is another message, and the same bytes with another id', async (t) => {
    const road = new Road(t);
    const ids = [
      idOf('queued', await road.pipe('1abc', bsmtp('', ['a@x'], message))),
      idOf('queued', await road.pipe('1abc', bsmtp('', ['a@x'], `${message}.\n`))),
      idOf('queued', await road.pipe('1ABC', bsmtp('', ['a@x'], message))),
    ];
    assert.deepEqual(
      contents(road).map(([id]) => id),
      ids,
    );
  });

  test('law 2: a message that was sent meanwhile is known, too', async (t) => {
    const road = new Road(t);
    const input = bsmtp('', ['a@x.example'], message);
    const id = idOf('queued', await road.pipe('1abc', input));
    await road.proxy();
    assert.equal((await road.drain(['--once']).ended).code, 0);
    assert.equal(idOf('already queued', await road.pipe('1abc', input)), id);
    assert.equal((await road.drain(['--once']).ended).code, 0);
    assert.equal(road.deliveries().length, 1);
    assert.equal((await road.stats())['accepted'], 1);
  });

  test('law 2: of eight hand-overs at once, the first ever in this spool, one stores', async (t) => {
    const road = new Road(t);
    const input = bsmtp('', ['a@x.example'], message);
    const eight = await Promise.all(Array.from({ length: 8 }, () => road.pipe('1abc', input)));
    const said = eight.map(({ stdout }) => stdout.toString()).toSorted();
    const [{ id } = { id: '' }, ...more] = stored(road.spool);
    assert.deepEqual(more, []);
    assert.deepEqual(said, [...Array<string>(7).fill(`already queued ${id}\n`), `queued ${id}\n`]);
  });

  test('law 3: stored is what the stream says, whichever its line ends', async (t) => {
    const road = new Road(t);
    await road.pipe('0', stream('\n', '.\n'));
    await road.pipe('1', stream('\n', '..\n\0\r\xff\r.\n...x\r\n.\n'));
    await road.pipe('2'.repeat(64), stream('\r\n', '..\r\nbare\rx\r\r\n...x\ny\r\n.\r\n'));
    assert.deepEqual(
      stored(road.spool).map(({ eximId, bytes }) => [eximId[0], bytes.toString('latin1')]),
      [
        ['0', ''],
        ['1', '.\n\0\r\xff\r.\n..x\r\n'],
        ['2', '.\r\nbare\rx\r\r\n..x\ny\r\n'],
      ],
    );
  });

  test('law 1: signals while it works do not stop it', async (t) => {
    const road = new Road(t);
    const input = bsmtp('', ['a@x.example'], `${'x'.repeat(2_000_000)}\n`);
    const pipe = start(t, launcher, ['1abc', '--spool', road.spool]);
    const { pid, stdin } = pipe.child;
    // More than fits between the two: when it is written, the program is reading.
    await new Promise((resolve) => stdin?.write(input.subarray(0, 1_500_000), resolve));

    const all = family(Number(pid));
    assert.ok(all.length >= 2, 'Node is not found below the launcher');
    for (const signal of [
      'SIGTERM',
      'SIGINT',
      'SIGHUP',
      'SIGUSR1',
      'SIGUSR2',
      'SIGPIPE',
    ] as const) {
      for (const member of all) process.kill(member, signal);
    }
    stdin?.end(input.subarray(1_500_000));
    idOf('queued', await pipe.ended);
  });

  test(
    "the spool's file is 0660 and the folder's owner's, even when root hands over",
    needs('root'),
    async (t) => {
      const road = new Road(t);
      const { uid, gid, ...theirs } = account();
      chmodSync(road.folder, 0o711);
      chownSync(road.spool, uid, gid);
      chmodSync(road.spool, 0o2770);
      const input = bsmtp('', ['a@x.example'], message);
      idOf('queued', await road.pipe('1', input));
      // With somebody else having it open, SQLite leaves its two other files.
      const reader = new Database(join(road.spool, 'spool.db'));
      reader.prepare('SELECT count(*) FROM message').get();
      idOf('queued', await road.pipe('2', input));
      assert.deepEqual(
        readdirSync(road.spool)
          .toSorted()
          .map((name) => [name, ...modeAndOwner(join(road.spool, name))]),
        ['spool.db', 'spool.db-shm', 'spool.db-wal'].map((name) => [name, '660', uid, gid]),
      );
      reader.close();

      const asAccount = theirs.command(theirs.launcher, '3', '--spool', road.spool);
      idOf('queued', await run(t, ...asAccount, { input }));
    },
  );

  test("the spool's file is 0660 whatever the umask", async (t) => {
    const road = new Road(t);
    const umask = ['-c', 'umask 077; exec "$0" "$@"', launcher, '1', '--spool', road.spool];
    idOf('queued', await run(t, '/bin/sh', umask, { input: bsmtp('', ['a@x'], message) }));
    assert.equal(modeAndOwner(join(road.spool, 'spool.db'))[0], '660');
  });

  test(
    'the launcher reads /etc/default/appengine-mailer; what the environment says comes first',
    needs('root'),
    async (t) => {
      const road = new Road(t);
      const inside = await mounted(t, '/etc/default');
      const write = 'echo "APPENGINE_MAILER_SPOOL=$0" >/etc/default/appengine-mailer';
      await run(t, ...inside('/bin/sh', '-c', write, road.spool));
      const hand = (env: NodeJS.ProcessEnv) =>
        run(t, ...inside(launcher, '1abc'), { input: bsmtp('', ['a@x'], message), env });
      assert.match((await hand({})).stdout.toString(), /^queued/);
      assert.equal((await road.messages()).length, 1);
      const { stdout } = await hand({ APPENGINE_MAILER_SPOOL: `${road.folder}/missing` });
      assert.match(stdout.toString(), /the folder of the spool is missing \(.*missing\)/);
    },
  );
});

/** The id in the one line of a hand-over that ended well. */
function idOf(said: 'queued' | 'already queued', { code, stdout, stderr }: Ended): string {
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, stdout.toString());
  const [, id] = new RegExp(`^${said} ([0-9a-f]{32})\n$`).exec(stdout.toString()) ?? [];
  assert.ok(id, `expected "${said} ID" and got ${JSON.stringify(stdout.toString())}`);
  return id;
}

/** A stream with these line ends in its envelope. */
function stream(eol: string, text: string): Buffer {
  return Buffer.from(['MAIL FROM:<>', 'RCPT TO:<a@x>', 'DATA', text].join(eol), 'latin1');
}

/** What is in the spool: id, sender, recipients and bytes of each message. */
function contents({ spool }: Road): [string, string, string, string][] {
  return stored(spool).map(({ id, sender, recipients, bytes }) => [
    id,
    sender.toString(),
    recipients.join(' '),
    bytes.toString(),
  ]);
}

/** A process and all that descend from it. */
function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
  return [
    pid,
    ...children.filter((child) => child !== '').flatMap((child) => family(Number(child))),
  ];
}

function modeAndOwner(file: string): [string, number, number] {
  const { mode, uid, gid } = statSync(file);
  return [(mode & 0o777).toString(8), uid, gid];
}
