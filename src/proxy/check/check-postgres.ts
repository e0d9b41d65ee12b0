import { CommandError } from '../../host/command-error.ts';
import { fault, note, ok, type Finding } from '../../host/finding.ts';
import { OWNERS } from '../ledger/postgres/advisory-locks.ts';
import type { Connection } from '../ledger/postgres/connect-postgres.ts';
import { libpqSettings } from '../ledger/postgres/libpq-settings.ts';
import { postgresFault } from '../ledger/postgres/postgres-error.ts';
import { schemaNote } from '../ledger/postgres/postgres-schema.ts';
import { connectSessions } from '../ledger/postgres/postgres-session.ts';

/** Checks whether a database can serve as a ledger, and how many proxies are at work on it. Nothing in it changes. */
export async function* checkPostgres(name: string): AsyncGenerator<Finding> {
  let connections: Connection[] = [];
  try {
    connections = Object.values(await connectSessions(libpqSettings(name)));
    const [house] = connections;
    if (!house) return;
    const missing = await schemaNote(house);
    yield missing === undefined
      ? ok('ledger', `${name} can be used by several proxies`)
      : note('ledger', `${name}: ${missing}`, RIGHT_DATABASE);
    yield* checkDurability(house);
    yield await checkProxies(house);
  } catch (error) {
    const text = error instanceof CommandError ? error.message : postgresFault(error as Error);
    yield fault('ledger', `cannot use ${name}: ${text}`, USABLE);
  } finally {
    for (const each of connections) each.destroy();
  }
}

/** What of the server's settings could forget commits. */
async function* checkDurability({ client }: Connection): AsyncGenerator<Finding> {
  const { rows } = await client.query<{ fsync: string; replicas: string | null }>(
    `SELECT current_setting('fsync') AS fsync,
      (SELECT string_agg(application_name, ', ') FROM pg_stat_replication WHERE sync_state = 'async') AS replicas`,
  );
  const { fsync, replicas = null } = rows[0] ?? {};
  if (fsync === 'off') {
    yield fault(
      'durability',
      'fsync is off: a crash of the server can forget what was sent',
      FSYNC,
    );
  } else if (replicas !== null) {
    yield note('durability', `${replicas} follow the server asynchronously`, REPLICAS);
  } else {
    yield ok('durability', 'what is committed stays');
  }
}

async function checkProxies({ client }: Connection): Promise<Finding> {
  const { rows } = await client.query<{ proxies: number }>(
    `SELECT count(*)::integer AS proxies FROM pg_locks WHERE locktype = 'advisory' AND granted
      AND classid::bigint = $1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [OWNERS],
  );
  const proxies = rows[0]?.proxies ?? 0;
  if (proxies === 0) return note('service', 'no proxy is at work on this ledger', START);
  const who = proxies === 1 ? 'a proxy is' : `${proxies} proxies are`;
  return ok('service', `${who} at work on this ledger`);
}

const RIGHT_DATABASE =
  'see that this is the right database (PGDATABASE): with another ledger, what was sent before may be sent again';
const USABLE = 'see PGHOST, PGDATABASE, PGUSER and PGSSLMODE, and whether PostgreSQL runs';
const FSYNC = 'set fsync = on in postgresql.conf';
const REPLICAS =
  'when one of them is promoted, the last commits may be lost, and what was sent then may be sent again: name it in synchronous_standby_names to prevent that';
const START = 'systemctl start appengine-mailer-proxy, or appengine-mailer-proxy by hand';
