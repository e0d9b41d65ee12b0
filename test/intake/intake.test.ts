import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { suite, type TestContext } from 'node:test';
import { limits } from '../../src/limits.ts';
import Database from '../../src/sqlite/better-sqlite3.ts';
import { clock } from '../support/clock.ts';
import { Intake, lmtpMail, LmtpClient } from '../support/lmtp.ts';
import { needs } from '../support/needs.ts';
import { appengineMailer, bundledProgram, start } from '../support/program.ts';
import { Road } from '../support/road.ts';
import { stored } from '../support/stored.ts';
import { until } from '../support/until.ts';

const GREET = 'LHLO client.example\r\n';

/** A server with a spool of its own. */
async function intake(
  t: TestContext,
  args: string[] = [],
): Promise<{ road: Road; server: Intake }> {
  const road = new Road(t);
  return { road, server: await Intake.start(t, { folder: road.folder, args }) };
}

test('law 1: 250 for each recipient, with the id, when the message is committed', async (t) => {
  const { road, server } = await intake(t);
  const recipients = ['a@x.example', 'b@x.example'];
  const replies = await server.take({ recipients, eximId: '1abc-0', message: '.\n\0\xff\r\n' });
  const [found, ...more] = stored(road.spool);
  assert.equal(more.length, 0);
  assert.deepEqual(
    replies,
    recipients.map(() => `250 2.0.0 queued ${found?.id}`),
  );
  assert.equal(found?.eximId, '1abc-0');
  assert.deepEqual(found.recipients.map(String), recipients);
  assert.deepEqual(found.bytes, Buffer.from('.\n\0\xff\r\n'));
});

test('law 2: a message that is handed over again is stored once, by LMTP or exim-pipe, and new recipients are added', async (t) => {
  const { road, server } = await intake(t);
  const mail = { recipients: ['a@x.example', 'b@x.example'], eximId: '1abc-0' };
  const [first = ''] = await server.take(mail);
  const id = first.slice('250 2.0.0 queued '.length);
  assert.deepEqual(
    await server.take(mail),
    [1, 2].map(() => `250 2.0.0 already queued ${id}`),
  );

  const more = await server.take({ ...mail, recipients: ['b@x.example', 'c@x.example'] });
  assert.equal(more[0], `250 2.0.0 already queued ${id}`);
  assert.match(more[1] ?? '', /^250 2\.0\.0 queued [0-9a-f]{32}$/);

  const again = 'MAIL FROM:<s@example.com>\nRCPT TO:<a@x.example>\nDATA\nSubject: x\n\nhello\n.\n';
  assert.equal(String((await road.pipe('1abc-0', again)).stdout), `already queued ${id}\n`);
  await server.take({ ...mail, message: 'Subject: other bytes\n\n' });
  assert.deepEqual(
    stored(road.spool).map(({ recipients }) => recipients.map(String)),
    [mail.recipients, ['c@x.example'], mail.recipients],
  );
});

test('law 2: without an id of the client the same bytes of the same sender are stored once for each recipient', async (t) => {
  const { road, server } = await intake(t);
  const recipients = ['a@x.example', 'b@x.example'];
  const [first] = await server.take({ recipients });
  const known = first?.replace('queued', 'already queued');
  assert.deepEqual(await server.take({ recipients: recipients.toReversed() }), [known, known]);
  // A client that has had one answer of two repeats the message for the other recipient alone.
  assert.deepEqual(await server.take({ recipients: ['b@x.example'] }), [known]);
  const [same, added] = await server.take({ recipients: ['b@x.example', 'c@x.example'] });
  assert.equal(same, known);
  assert.match(added ?? '', /^250 2\.0\.0 queued/);
  for (const other of [
    { sender: 'other@x.example' },
    { message: 'Subject: other\n\n' },
    { recipients: ['d@x.example'] },
  ]) {
    assert.match((await server.take({ recipients, ...other }))[0] ?? '', /^250 2\.0\.0 queued/);
  }
  assert.deepEqual(
    stored(road.spool).map((each) => each.recipients.map(String)),
    [recipients, ['c@x.example'], recipients, recipients, ['d@x.example']],
  );
});

test('law 7: a connection that is cut anywhere stores nothing, or all of the message once its closing dot has come', async (t) => {
  const { road, server } = await intake(t);
  await server.take({ eximId: 'seed' });
  const dialogue = Buffer.concat([
    Buffer.from(GREET),
    lmtpMail({ eximId: 'cut', message: 'A: b\n\n..\n' }),
  ]);
  const cutAt = async (length: number) => {
    const client = await server.client();
    client.say(dialogue.subarray(0, length));
    await client.end();
  };
  const lengths = Array.from({ length: dialogue.length }, (_, length) => length);
  for (let first = 0; first < lengths.length; first += 20) {
    await Promise.all(lengths.slice(first, first + 20).map(cutAt));
  }
  assert.deepEqual(
    stored(road.spool).map(({ eximId }) => eximId),
    ['seed'],
  );

  // Without its answer the client hands over again.
  const gone = await server.client();
  gone.say(dialogue.subarray(0, -20));
  await gone.hears(/^354/);
  gone.say(dialogue.subarray(-20));
  gone.socket.destroy();
  await until(
    () => stored(road.spool).length === 2,
    () => 'it is not stored',
  );
  const [reply] = await server.take({ eximId: 'cut', message: 'A: b\n\n..\n' });
  assert.equal(reply, `250 2.0.0 already queued ${stored(road.spool)[1]?.id}`);
});

test('many messages come by one connection, pipelined, and by many at once', async (t) => {
  const { road, server } = await intake(t);
  const mails = Array.from({ length: 40 }, (_, number) => ({ eximId: `one-${number}` }));
  assert.equal((await server.take(...mails)).length, 40);
  const all = Array.from({ length: 40 }, async (_, number) =>
    server.take({ eximId: `many-${number}` }),
  );
  for (const [reply] of await Promise.all(all)) assert.match(reply ?? '', /^250/);
  assert.equal(stored(road.spool).length, 80);
});

test('the connection above the limit is told to come later, which is told once, and the others go on', async (t) => {
  const { server } = await intake(t);
  const clients: LmtpClient[] = [];
  while (clients.length < limits.intakeConnections) clients.push(await server.client());
  await Promise.all(clients.map(async (client) => client.hears(/^220/)));
  for (const _ of [1, 2]) {
    const text = await (await server.client()).closed();
    assert.equal(text, '421 4.3.2 there are too many connections, try again later\r\n');
  }
  await clients[0]?.end('QUIT\r\n');
  assert.equal((await server.take({})).length, 1);
  assert.match(server.program.stderr, /intake has 1000 connections and turns away others/);
  assert.equal(server.program.stderr.match(/turns away/g)?.length, 1);
});

test('a message above --max-size is refused for now', async (t) => {
  const { road, server } = await intake(t, ['--max-size', '100']);
  const [reply, next] = await server.take({ message: `${'x'.repeat(100)}\n` }, {});
  assert.match(
    reply ?? '',
    /^452 4\.3\.4 not queued, try again later: .*larger than the limit of 100 bytes$/,
  );
  assert.match(next ?? '', /^250/);
  assert.equal(stored(road.spool).length, 1);
});

// Ending

test('law 7: when it is stopped, what is under way is taken, who waits is told, and it ends with 0', async (t) => {
  const { road, server } = await intake(t);
  const [idle, busy, fresh] = [await server.client(), await server.client(), await server.client()];
  const mail = lmtpMail({ eximId: 'busy' });
  idle.say(Buffer.concat([Buffer.from(GREET), lmtpMail({ eximId: 'idle' })]));
  await idle.hears(/^250 2\.0\.0 queued/);
  busy.say(Buffer.concat([Buffer.from(GREET), mail.subarray(0, -8)]));
  await busy.hears(/^354/);
  await fresh.hears(/^220/);

  server.program.child.kill('SIGTERM');
  assert.match(
    await idle.closed(),
    /\r\n421 4\.3\.2 the server is being restarted, try again later\r\n$/,
  );
  busy.say(mail.subarray(-8));
  assert.match(await busy.closed(), /\r\n250 2\.0\.0 queued \w+\r\n421 4\.3\.2/);
  // Its client has just come, and may hand over one message.
  fresh.say(Buffer.concat([Buffer.from(GREET), lmtpMail({ eximId: 'fresh' })]));
  assert.match(await fresh.closed(), /\r\n250 2\.0\.0 queued \w+\r\n421 4\.3\.2/);
  const { code, stderr } = await server.program.ended;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^intake on \S+ stopped; it has taken 3 messages$/m);
  assert.deepEqual(
    stored(road.spool).map(({ eximId }) => eximId),
    ['idle', 'busy', 'fresh'],
  );
  assert.equal(existsSync(server.socket), false);
});

// Troubles of the spool: nothing is stored, the client is told why and tries again, and what is put right is used at once.

/** Spoils a spool that has one message, and puts it right. */
interface Trouble {
  what: string;
  spoil: (spool: string) => void | Promise<void>;
  repair: (spool: string) => void;
  reason: RegExp;
}

const FILE = 'spool.db';
const kept = new Map<string, Buffer>();
const keep = (file: string) => kept.set(file, readFileSync(file));
const putBack = (file: string) => {
  rmSync(file, { recursive: true, force: true });
  writeFileSync(file, kept.get(file) ?? '');
};

const troubles: Trouble[] = [
  {
    what: 'damaged',
    spoil: (spool) => {
      keep(join(spool, FILE));
      writeFileSync(join(spool, FILE), 'garbage '.repeat(1000));
    },
    repair: (spool) => putBack(join(spool, FILE)),
    reason: /file is not a database/,
  },
  {
    what: 'of a newer version',
    spoil: (spool) => setVersion(spool, 99),
    repair: (spool) => setVersion(spool, version),
    reason: /has schema 99 and this program knows schemas up to \d+: .* newer/,
  },
  {
    what: 'not a file of its own',
    spoil: (spool) => {
      keep(join(spool, FILE));
      rmSync(join(spool, FILE));
      symlinkSync('/etc/hostname', join(spool, FILE));
    },
    repair: (spool) => putBack(join(spool, FILE)),
    reason: /is not a regular file/,
  },
  {
    what: 'gone with its folder',
    spoil: (spool) => {
      keep(join(spool, FILE));
      rmSync(spool, { recursive: true });
    },
    repair: (spool) => {
      mkdirSync(spool);
      putBack(join(spool, FILE));
    },
    reason: /the folder of the spool is missing \(\S+\)\. To do: make it/,
  },
  {
    what: 'made to refuse by a trigger of others',
    spoil: (spool) =>
      inFile(
        spool,
        `CREATE TRIGGER theirs BEFORE INSERT ON message BEGIN SELECT raise(ABORT, 'no'); END`,
      ),
    repair: (spool) => inFile(spool, 'DROP TRIGGER theirs'),
    reason: / no\. To do: appengine-mailer queue fsck --check/,
  },
];
let version = 0;

function inFile(spool: string, sql: string): void {
  const db = new Database(join(spool, FILE));
  db.exec(sql);
  db.close();
}

function setVersion(spool: string, number: number): void {
  const db = new Database(join(spool, FILE));
  const found = Number(db.pragma('user_version', { simple: true }));
  if (found !== 99) version = found;
  db.pragma(`user_version = ${number}`);
  db.close();
}

suite(
  'law 1, law 5: a spool that cannot be used is 4xx with the reason, and is used as soon as it can be',
  () => {
    for (const { what, spoil, repair, reason } of troubles) {
      test(`a spool that is ${what}`, async (t) => {
        const { road, server } = await intake(t);
        await server.take({ eximId: 'before' });
        // The server has closed it.
        await until(
          () => !existsSync(join(road.spool, `${FILE}-wal`)),
          () => 'the spool stays open',
        );
        await spoil(road.spool);
        for (const eximId of ['one', 'two']) {
          const replies = await server.take({ eximId, recipients: ['a@x.example', 'b@x.example'] });
          assert.equal(replies.length, 2);
          for (const reply of replies) {
            assert.match(reply, /^451 4\.3\.0 not queued, try again later: [ -~]+$/);
            assert.match(reply, reason);
          }
        }
        repair(road.spool);
        for (const eximId of ['one', 'two']) {
          assert.match((await server.take({ eximId }))[0] ?? '', /^250 2\.0\.0 queued/);
        }
        const ids = stored(road.spool).map(({ eximId }) => eximId);
        assert.deepEqual(ids, ['before', 'one', 'two']);
        const { stderr } = server.program;
        assert.equal(stderr.match(/^the spool \S+ takes no mail: /gm)?.length, 1, stderr);
        assert.match(stderr, new RegExp(`takes no mail:.*${reason.source}`));
        assert.doesNotMatch(stderr, /try again later/);
        assert.match(stderr, /^the spool \S+ takes mail again$/m);
      });
    }
  },
);

test('while another program writes to the spool for long, the server serves its clients, and then stores what has come', async (t) => {
  const { road, server } = await intake(t);
  await server.take({ eximId: 'before' });
  const db = new Database(join(road.spool, FILE));
  db.exec('BEGIN IMMEDIATE');
  const waiting = await server.client();
  waiting.say(Buffer.concat([Buffer.from(GREET), lmtpMail({ eximId: 'late' })]));
  await waiting.hears(/^354/);
  for (let count = 0; count < 20; count += 1) {
    const other = await server.client();
    other.say(`${GREET}NOOP\r\nQUIT\r\n`);
    assert.match(await other.closed(limits.busyMs - 5000), /^221/m);
  }
  assert.doesNotMatch(waiting.text, /queued/);
  db.exec('ROLLBACK');
  db.close();
  await waiting.hears(/^250 2\.0\.0 queued/);
  assert.deepEqual(
    stored(road.spool).map(({ eximId }) => eximId),
    ['before', 'late'],
  );
});

// Sockets

test('clients that are gone before they are greeted do the server no harm', async (t) => {
  const { server } = await intake(t);
  for (let count = 0; count < 300; count += 1) {
    const client = await server.client();
    client.socket.destroy();
  }
  assert.equal((await server.take({})).length, 1);
});

test('a socket that a dead server left is replaced; one that is in use is not, nor is anything else', async (t) => {
  const { road, server } = await intake(t);
  await server.program.stop('SIGKILL');
  assert.ok(existsSync(server.socket));
  const next = await Intake.start(t, { folder: road.folder });
  const second = appengineMailer(t, ['intake', '--socket', server.socket, '--spool', road.spool]);
  const { code, stderr } = await second.ended;
  assert.equal(code, 78);
  assert.match(
    stderr,
    /^appengine-mailer: cannot listen on unix:\S+: another program listens on \S+intake\.sock \(EADDRINUSE\)\n$/,
  );
  assert.equal((await next.take({})).length, 1);
});

test(
  'started by systemd with the first connection, it takes that one, and ends with 0 after 10 minutes without any',
  needs('systemd', 'faketime'),
  async (t) => {
    const road = new Road(t);
    const socket = join(road.folder, 'intake.sock');
    const words = [process.execPath, bundledProgram, 'intake', '--spool', road.spool];
    const env = clock('+0 x200');
    const passed = ['FAKETIME', 'LD_PRELOAD'].flatMap((name) => ['-E', name]);
    const holder = start(
      t,
      '/usr/bin/systemd-socket-activate',
      ['-l', socket, ...passed, ...words],
      {
        env,
      },
    );
    await holder.says(/Listening on .*intake\.sock/);
    // The connection waits until the server has started.
    const client = await LmtpClient.open(t, socket);
    client.say(Buffer.concat([Buffer.from(GREET), lmtpMail(), Buffer.from('QUIT\r\n')]));
    assert.match(await client.closed(), /^250 2\.0\.0 queued/m);
    const { code, stderr } = await holder.ended;
    assert.equal(code, 0, stderr);
    assert.match(
      stderr,
      /^intake on the socket of systemd has taken 1 message and has had nothing to do for 10 min: it ends, and systemd starts it again with the next connection$/m,
    );
    assert.ok(existsSync(socket), 'the socket is systemd’s');
  },
);
