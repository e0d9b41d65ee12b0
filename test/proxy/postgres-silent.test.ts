import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { systemClock, type Clock } from '../../src/host/clock.ts';
import { openPostgresLedger } from '../../src/proxy/ledger/postgres/open-postgres-ledger.ts';
import { proxyJournal } from '../../src/proxy/proxy-journal.ts';
import { needs } from '../support/needs.ts';
import { PostgresServer } from '../support/postgres.ts';

/** Its time limits end soon. */
const hasty: Clock = {
  ...systemClock,
  timer: (ms, callback, options) => systemClock.timer(Math.min(ms, 500), callback, options),
};

test('a database server that falls silent after the login', needs('postgres'), async (t) => {
  const server = await PostgresServer.start(t, { settings: { fsync: 'off' } });
  const moments = {
    'while a connection is set up': 'synchronous_commit = on',
    'while it is asked what it is': 'server_encoding',
    'while the tables are made': 'pg_advisory_xact_lock',
    'while the number is drawn': 'pg_try_advisory_lock',
    'before it sends notifications': 'LISTEN',
  };
  for (const [moment, text] of Object.entries(moments)) {
    await t.test(
      `${moment} is not waited for without a limit`,
      { timeout: 20_000 },
      async (inner) => {
        const folder = await silentFrom(inner, server, text);
        const url = `postgres://ledger@${encodeURIComponent(folder)}/ledger`;
        await assert.rejects(
          openPostgresLedger(url, { journal: proxyJournal(() => {}), clock: hasty }),
          /the server gave no answer within/,
        );
      },
    );
  }
});

/** The folder of a socket that leads to the server, which is not heard any more once it was asked this. */
async function silentFrom(t: TestContext, server: PostgresServer, text: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'appengine-mailer-silent-'));
  const open = new Set<Socket>();
  const relay = createServer((client) => {
    const onward = connect(`${server.folder}/.s.PGSQL.5432`);
    for (const each of [client, onward]) open.add(each.on('error', () => {}));
    onward.pipe(client);
    client.on('data', (data) => {
      if (data.includes(text)) onward.unpipe(client);
      else onward.write(data);
    });
  });
  await new Promise<void>((resolve) => {
    relay.listen(join(folder, '.s.PGSQL.5432'), resolve);
  });
  t.after(() => {
    for (const each of open) each.destroy();
    relay.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
