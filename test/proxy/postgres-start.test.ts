import assert from 'node:assert/strict';
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { CommandError } from '../../src/host/command-error.ts';
import { limits } from '../../src/limits.ts';
import { checkPostgres } from '../../src/proxy/check/check-postgres.ts';
import { keepTrying } from '../../src/proxy/ledger/postgres/keep-trying.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { PostgresLedgerReader } from '../../src/proxy/ledger/postgres/postgres-ledger-reader.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { account } from '../support/account.ts';
import { closedPort } from '../support/closed-port.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import { appengineMailer } from '../support/program.ts';
import { scratch } from '../support/scratch.ts';
import { ServiceManager } from '../support/service-manager.ts';
import { exchange, signedPost } from '../support/signed-post.ts';
import { until } from '../support/until.ts';

const key = 'a key of sixteen octets';

test(
  'law 5, law 6: a proxy that starts while the database is down answers 503 with the reason, and works when it is there',
  needs('postgres'),
  async (t) => {
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    await server.stop();
    const address = `127.0.0.1:${await closedPort()}`;
    const manager = new ServiceManager(t);
    const env = { GMAIL_SECRET_KEY: key, ...server.environment, ...manager.environment };
    const start = () =>
      appengineMailer(t, ['proxy', '--listen', address, '--ledger', 'postgres:'], {
        cwd: scratch(t),
        env,
      });
    const stopped = start();
    await stopped.says(/attention: the database of the ledger postgres: cannot be used: .*ENOENT/);
    const { code, stderr } = await stopped.stop();
    assert.equal(code, 0, stderr);

    const proxy = start();
    await proxy.says(/attention: the database/);
    await manager.hears(/^READY=1\nSTATUS=attention: the ledger postgres: cannot be used/, 2);
    const answer = await signedPost(address, { key, id: 'an-id' });
    assert.equal(answer.status, 503);
    assert.equal(answer.headers['retry-after'], '10');
    assert.match(answer.body.toString(), /^the ledger postgres: cannot be used: .*ENOENT/);
    assert.equal((await exchange(address, {})).status, 503);
    await server.start();
    await proxy.says(/proxy listens on/);
    assert.equal((await signedPost(address, { key, id: 'an-id' })).status, 200);
    assert.equal(proxy.stderr.match(/attention: the database .*ENOENT/g)?.length, 1, 'told once');
    assert.equal((await proxy.stop()).code, 0);
  },
);

test('what fails again and again is told once for each reason, and again every hour', async () => {
  const stopping = new AbortController();
  let now = 0;
  const clock = {
    now: () => now,
    wallNow: () => 0,
    random: () => 0,
    randomBytes: (size: number) => Buffer.alloc(size),
    timer: (ms: number, callback: () => void) => {
      now += ms;
      setImmediate(callback);
      return () => {};
    },
  };
  const told: [number, string][] = [];
  let tries = 0;
  const opened = await keepTrying(
    async () => {
      tries += 1;
      if (now > 1.5 * limits.faultRepeatMs) stopping.abort();
      return Promise.reject(new Error(tries % 3 === 1 ? 'refused' : 'it starts'));
    },
    {
      clock,
      stop: stopping.signal,
      failed: () => {},
      tell: ({ message }) => told.push([Math.floor(now / limits.faultRepeatMs), message]),
    },
  );
  assert.equal(opened, undefined);
  assert.deepEqual(told, [
    [0, 'refused'],
    [0, 'it starts'],
    [1, 'refused'],
    [1, 'it starts'],
  ]);
});

test(
  'a password that is missing, a role without rights: the error says what to do',
  needs('postgres'),
  async (t) => {
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    const journal = proxyJournal(() => {});
    const ledger = await openPostgresLedger(server.url, { journal });
    t.after(async () => ledger.close());
    await server.query(`CREATE ROLE secretive LOGIN PASSWORD 'x'`);
    await server.query('CREATE ROLE nobody LOGIN');
    const rules = join(server.data, 'pg_hba.conf');
    writeFileSync(rules, `local all secretive scram-sha-256\n${readFileSync(rules, 'utf8')}`);
    await server.query('SELECT pg_reload_conf()');
    await until(
      async () =>
        (
          await server.query('SELECT FROM pg_hba_file_rules WHERE user_name = ARRAY[$1]', [
            'secretive',
          ])
        ).length > 0,
      () => 'not reloaded',
    );
    const as = (user: string) => server.url.replace('ledger@', `${user}@`);
    const secretive = await refusal(openPostgresLedger(as('secretive'), { journal }));
    assert.match(
      secretive,
      /^78 .*asks for the password of the user "secretive", and there is none: set PGPASSWORD/,
    );
    for (const opened of [
      async () => openPostgresLedger(as('nobody'), { journal }),
      async () => PostgresLedgerReader.open(as('nobody')),
    ]) {
      const text = await refusal(opened());
      assert.match(
        text,
        /^77 .*permission denied for schema appengine_mailer. To do: .*GRANT USAGE ON SCHEMA/,
      );
    }
    for await (const { ok, text, todo } of checkPostgres(as('nobody'))) {
      assert.equal(ok, false);
      assert.ok(!text.includes('To do'), text);
      assert.match(todo ?? '', /GRANT USAGE ON SCHEMA/);
    }
    await server.query('GRANT USAGE ON SCHEMA appengine_mailer TO nobody');
    await server.query('GRANT SELECT ON ALL TABLES IN SCHEMA appengine_mailer TO nobody');
    await (await PostgresLedgerReader.open(as('nobody'))).close();
    const { value: tables } = await checkPostgres(as('nobody')).next();
    assert.match(`${tables?.ok} ${tables?.text}`, /^false this user may not write into/);
  },
);

test(
  'law 14: root becomes the owner of the working directory for a ledger in PostgreSQL, which goes by its name',
  needs('postgres', 'root'),
  async (t) => {
    const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
    chmodSync(server.folder, 0o711);
    const { name, uid, gid } = account();
    await server.query(`CREATE ROLE ${name} LOGIN`);
    await server.query(`GRANT CREATE ON DATABASE ledger TO ${name}`);
    const cwd = scratch(t);
    chownSync(cwd, uid, gid);
    chmodSync(cwd, 0o700);
    const { PGHOST, PGDATABASE } = server.environment;
    const env = { GMAIL_SECRET_KEY: key, PGHOST, PGDATABASE, HOME: '/root' };
    const proxy = appengineMailer(
      t,
      ['proxy', '--listen', '127.0.0.1:0', '--ledger', 'postgres:'],
      { cwd, env },
    );
    await proxy.says(/proxy listens on/);
    const users = await server.query(
      'SELECT DISTINCT rolname FROM appengine_mailer.owner, pg_namespace JOIN pg_roles ON nspowner = pg_roles.oid WHERE nspname = $1',
      ['appengine_mailer'],
    );
    assert.deepEqual(users, [{ rolname: name }]);
    await proxy.stop();
  },
);

async function refusal(what: Promise<unknown>): Promise<string> {
  return what.then(
    () => assert.fail('it is taken'),
    ({ exitCode, message }: CommandError) => `${exitCode} ${message}`,
  );
}
