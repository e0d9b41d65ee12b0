import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { CommandError } from '../../src/host/command-error.ts';
import { libpqSettings } from '../../src/proxy/ledger/postgres/libpq-settings.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { needs } from '../support/needs.ts';
import { giveAway, PostgresServer, runAsPostgres } from '../support/postgres.ts';
import { scratch } from '../support/scratch.ts';
import { startPooler } from '../support/postgres-pooler.ts';
import { mounted } from '../support/mounted.ts';
import { until } from '../support/until.ts';

const digest = Buffer.alloc(32, 7);
const a = 'a@example.org';
const message = (id: string) => ({ key: '', id });
const sent = { address: a, kind: 'sent', status: '2.0.0', reason: 'ok' } as const;

async function open(url: string, lines: string[] = []) {
  return openPostgresLedger(url, { journal: proxyJournal(({ text }) => lines.push(text)) });
}

async function refusal(url: string): Promise<[number, string]> {
  const error = await open(url).then(
    () => assert.fail('it is taken'),
    (fault: CommandError) => fault,
  );
  return [error.exitCode, error.message];
}

test(
  'a server that could forget, or that a newer version uses, is refused with what to do',
  needs('postgres'),
  async (t) => {
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    for (const commit of ['off', 'local']) {
      const url = await server.database(`commit_${commit}`);
      await server.query(`ALTER DATABASE commit_${commit} SET synchronous_commit = ${commit}`);
      const [code, text] = await refusal(url);
      assert.equal(code, 78);
      assert.match(text, new RegExp(`synchronous_commit is ${commit}, .* set it to on`));
    }
    const url = await server.database('newer');
    await (await open(url)).close();
    await server.query('UPDATE ledger SET schema = 99', [], 'newer');
    const [code, text] = await refusal(url);
    assert.equal(code, 74);
    assert.match(text, /schema 99 .* a newer appengine-mailer uses it; install that version/);

    assert.equal((await refusal(url.replace(/newer$/, 'missing')))[0], 78);
    assert.equal((await refusal('postgres://nobody@%2Fnowhere/ledger'))[0], 69);
  },
);

test(
  'a proxy that starts beside another one makes the tables once',
  needs('postgres'),
  async (t) => {
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    const ledgers = await Promise.all(Array.from({ length: 3 }, async () => open(server.url)));
    assert.equal(new Set(ledgers.map(({ id }) => id)).size, 1);
    await Promise.all(ledgers.map(async (ledger) => ledger.close()));
  },
);

test(
  'a pooler in transaction mode is refused, and one in session mode is taken',
  needs('postgres'),
  async (t) => {
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    for (const mode of ['transaction', 'session'] as const) {
      const port = await startPooler(t, server, mode);
      const url = `postgres://ledger@127.0.0.1:${port}/ledger?sslmode=disable`;
      if (mode === 'session') {
        await (await open(url)).close();
        continue;
      }
      const [code, text] = await refusal(url);
      assert.equal(code, 78);
      assert.match(text, /pooler in transaction mode \(PgBouncer\)/);
    }
  },
);

test(
  'law 6, law 7: the primary dies and its standby is promoted: the ledger goes on there, and knows what was sent',
  needs('postgres'),
  async (t) => {
    const primary = await PostgresServer.start(t, { settings: { wal_level: 'replica' } });
    const data = join(primary.folder, 'standby');
    mkdirSync(data, { mode: 0o700 });
    giveAway(data);
    runAsPostgres(
      'pg_basebackup',
      '-h',
      primary.folder,
      '-U',
      'ledger',
      '-D',
      data,
      '-R',
      '-X',
      'stream',
    );
    const standby = await PostgresServer.start(t, { data });
    // It is waited for: it has every commit.
    await primary.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await primary.query('SELECT pg_reload_conf()');
    await until(
      async () =>
        (await primary.query(`SELECT FROM pg_stat_replication WHERE sync_state = 'sync'`)).length >
        0,
      () => standby.log,
    );
    const hosts = [primary, standby].map(({ folder }) => encodeURIComponent(folder)).join(',');
    const lines: string[] = [];
    const ledger = await open(`postgres://ledger@${hosts}/ledger`, lines);
    t.after(async () => ledger.close());
    await ledger.begin(message('one'), digest, [a]);
    await ledger.settle(message('one'), [sent]);
    await ledger.begin(message('two'), digest, [a]);
    await primary.stop('SIGQUIT');
    await assert.rejects(ledger.begin(message('three'), digest, [a]));
    await standby.query('SELECT pg_promote()');
    for (;;) {
      const isBack = await ledger.check().then(
        () => true,
        () => false,
      );
      if (isBack) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.deepEqual(
      await ledger.settle(message('two'), [sent]),
      [],
      'what was begun before is settled',
    );
    for (const id of ['one', 'two'])
      assert.equal((await ledger.known(message(id), [a], digest)).size, 1);
    await ledger.begin(message('three'), digest, [a]);
    assert.ok(lines.some((line) => /is back after/.test(line)));
  },
);

test(
  'law 6: a disk of the server that is full: nothing is begun, and it goes on when there is room',
  needs('postgres', 'root'),
  async (t) => {
    const folder = scratch(t);
    chmodSync(folder, 0o755);
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const inside = await mounted(t, disk, 'size=110m');
    const server = await PostgresServer.start(t, {
      data: join(disk, 'data'),
      inside,
      settings: { max_wal_size: '32MB' },
    });
    const ledger = await open(server.url);
    t.after(async () => ledger.close());
    execFileSync(...inside('sh', '-c', `cat /dev/zero > ${disk}/filler || true`), {
      stdio: 'pipe',
    });
    let begun = 0;
    const addresses = Array.from(
      { length: 500 },
      (_, each) => `r${each}@${'x'.repeat(200)}.example.org`,
    );
    const full = async () => {
      for (; ; begun += 1) await ledger.begin(message(`id${begun}`), digest, addresses);
    };
    await assert.rejects(
      full(),
      /No space left on device|no connection|closed the connection|terminat/i,
    );
    await assert.rejects(ledger.begin(message(`id${begun}`), digest, addresses));
    execFileSync(...inside('rm', `${disk}/filler`));
    if (!server.isRunning) await server.start();
    await until(
      async () =>
        ledger.check().then(
          () => true,
          () => false,
        ),
      () => server.log,
    );
    assert.deepEqual(await ledger.begin(message(`id${begun}`), digest, addresses), new Map());
    const { rows } = {
      rows: await server.query<{ count: number }>(
        `SELECT count(*)::integer AS count FROM recipient WHERE state = 'begun'`,
      ),
    };
    assert.equal(rows[0]?.count, 500 * (begun + 1), 'each whole, and none twice');
  },
);

test('libpq: the URL, the service file, the variables and the password file, in this order', (t) => {
  const folder = scratch(t);
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const environment = {
    PGHOST: 'variable.example.org',
    PGUSER: 'of-variable',
    PGSERVICEFILE: file(
      'services',
      '[other]\nhost=other\n[mail]\nhost=service.example.org\ndbname=of-service\n',
    ),
    PGPASSFILE: file(
      'pass',
      'x:*:*:*:no\nservice.example.org:5433:*:of\\:url:se\\:cret\n*:*:*:*:rest\n',
    ),
  };
  const plain = libpqSettings('postgres:', environment);
  assert.deepEqual(
    [plain.servers, plain.user, plain.database],
    [[{ host: 'variable.example.org', port: 5432 }], 'of-variable', 'of-variable'],
  );
  assert.equal(plain.tls?.orPlain, true, 'sslmode is prefer');
  const { servers, user, database, password, tls } = libpqSettings(
    'postgres://of%3Aurl@:5433/?sslmode=verify-full',
    { ...environment, PGSERVICE: 'mail' },
  );
  assert.deepEqual(
    [servers, user, database],
    [[{ host: 'service.example.org', port: 5433 }], 'of:url', 'of-service'],
  );
  assert.deepEqual(
    [tls?.orPlain, tls?.options.rejectUnauthorized, tls?.options.checkServerIdentity],
    [false, true, undefined],
  );
  assert.equal(password({ host: 'service.example.org', port: 5433 }), 'se:cret');
  assert.equal(
    libpqSettings('postgres:', { ...environment, PGPASSWORD: 'first' }).password({
      host: 'any',
      port: 1,
    }),
    'first',
  );
  const { servers: two, tls: none } = libpqSettings(
    'postgres://%2Frun%2Fone,%2Frun%2Ftwo:6000/mail',
    {},
  );
  assert.deepEqual(
    [two, none],
    [
      [
        { host: '/run/one', port: 5432 },
        { host: '/run/two', port: 6000 },
      ],
      undefined,
    ],
  );
  for (const url of ['postgres://me:secret@host/db', 'postgres://host/db?password=secret']) {
    assert.throws(
      () => libpqSettings(url, {}),
      (error: Error) => !error.message.includes('secret') && /PGPASSWORD/.test(error.message),
    );
  }
  chmodSync(environment.PGPASSFILE, 0o644);
  assert.throws(() => plain.password({ host: 'any', port: 1 }), /open to others: chmod 600/);
});
