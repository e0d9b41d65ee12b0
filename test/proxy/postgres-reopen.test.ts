import assert from 'node:assert/strict';
import test from 'node:test';
import { connectPostgres } from '../../src/proxy/ledger/postgres/connect-postgres.ts';
import { libpqSettings } from '../../src/proxy/ledger/postgres/libpq-settings.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';
import { until } from '../support/until.ts';

const digest = Buffer.alloc(32, 7);
const a = 'a@example.org';
const message = { key: '', id: 'id' };
const sent = { address: a, kind: 'sent', status: '2.0.0', reason: 'ok' } as const;

test('a server that another database has come to', needs('postgres'), async (t) => {
  const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
  const admin = async (text: string) => server.query(text, [], 'postgres');

  for (const [what, makeOther] of [
    ['has no ledger', async () => {}],
    [
      'has another ledger',
      async (url: string) =>
        (await openPostgresLedger(url, { journal: proxyJournal(() => {}) })).close(),
    ],
  ] as const) {
    await t.test(
      `law 6: a database that ${what} is not used by a proxy that comes back, and nothing is made there`,
      async () => {
        const name = what.replaceAll(' ', '_');
        const url = await server.database(name);
        const lines: string[] = [];
        const ledger = await openPostgresLedger(url, {
          journal: proxyJournal(({ text }) => lines.push(text)),
        });
        try {
          await ledger.begin(message, digest, [a]);
          await ledger.settle(message, [sent]);

          /** Has the name lead to another database, as when DNS or PGHOST do. */
          const rename = async (from: string, to: string) => {
            await admin(`ALTER DATABASE ${from} ALLOW_CONNECTIONS off`);
            await admin(
              `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${from}'`,
            );
            await admin(`ALTER DATABASE ${from} RENAME TO ${to}`);
            await admin(`ALTER DATABASE ${to} ALLOW_CONNECTIONS on`);
          };
          await rename(name, `former_${name}`);
          await admin(`CREATE DATABASE ${name}`);
          await makeOther(url);
          const reason = new RegExp(
            `${what.slice('has '.length)}.*, and not the one that this proxy began with`,
          );
          await until(
            () => lines.some((line) => reason.test(line)),
            () => lines.join('\n'),
          );
          await assert.rejects(ledger.begin({ key: '', id: 'other' }, digest, [a]), reason);
          const made = await server.query(
            `SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
             WHERE nspname = 'appengine_mailer' AND relname = 'ledger'`,
            [],
            name,
          );
          assert.equal(made.length, what === 'has no ledger' ? 0 : 1);

          await rename(name, `wrong_${name}`);
          await rename(`former_${name}`, name);
          await until(
            () => lines.some((line) => /is back after/.test(line)),
            () => lines.join('\n'),
          );
          assert.equal((await ledger.known(message, [a], digest)).size, 1);
          assert.equal(lines.filter((line) => reason.test(line)).length, 1, 'told once');
        } finally {
          await ledger.close();
        }
      },
    );
  }

  await t.test(
    'law 6, law 7: a commit is on the disk also when synchronous_commit is switched off later; a server that could forget is told',
    async (inner) => {
      const url = await server.database('durable');
      const lines: string[] = [];
      const ledger = await openPostgresLedger(url, {
        journal: proxyJournal(({ text }) => lines.push(text)),
      });
      inner.after(async () => ledger.close());
      assert.match(lines.join('\n'), /attention: fsync of the database server .* is off: a crash/);
      const connection = await connectPostgres(libpqSettings(url));
      inner.after(() => connection.destroy());
      const { client } = connection;
      const commit = async () =>
        (await client.query<{ synchronous_commit: string }>('SHOW synchronous_commit')).rows[0]
          ?.synchronous_commit;
      await server.query('ALTER SYSTEM SET synchronous_commit = off');
      await server.query('SELECT pg_reload_conf()');
      await until(
        async () =>
          (await server.query<{ synchronous_commit: string }>('SHOW synchronous_commit'))[0]
            ?.synchronous_commit === 'off',
        () => 'not reloaded',
      );
      assert.equal(await commit(), 'on');
      await assert.rejects(
        connectPostgres(libpqSettings(url)),
        /synchronous_commit is off, so that/,
      );
      await server.query('ALTER SYSTEM RESET synchronous_commit');
      await server.query('SELECT pg_reload_conf()');
    },
  );
});
