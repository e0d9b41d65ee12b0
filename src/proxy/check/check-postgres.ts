import { CommandError } from '../../host/command-error.ts';
import { countOf } from '../../host/count-of.ts';
import { fault, note, notChecked, ok, type Finding } from '../../host/finding.ts';
import { OWNERS } from '../ledger/postgres/advisory-locks.ts';
import type { Connection } from '../ledger/postgres/connect-postgres.ts';
import { libpqSettings } from '../ledger/postgres/libpq-settings.ts';
import { postgresRemedy, PostgresUnusableError } from '../ledger/postgres/postgres-error.ts';
import { schemaNote } from '../ledger/postgres/postgres-schema.ts';
import { connectSessions } from '../ledger/postgres/postgres-session.ts';

/** Checks whether a database can serve as a ledger, and how many proxies are at work on it. Nothing in it changes. */
export async function* checkPostgres(name: string): AsyncGenerator<Finding> {
  let connections: Connection[] = [];
  try {
    connections = Object.values(await connectSessions(libpqSettings(name)));
    const [house] = connections;
    if (!house) return;
    yield await checkTables(name, house);
    yield await checkDurability(house);
    yield await checkProxies(house);
  } catch (error) {
    const { message } = error as Error;
    yield fault('ledger', `cannot use ${name}: ${message}`, remedyOf(error as Error));
  } finally {
    for (const each of connections) each.destroy();
  }
}

async function checkTables(name: string, house: Connection): Promise<Finding> {
  const missing = await schemaNote(house);
  if (missing !== undefined) return note('ledger', `${name}: ${missing}`, RIGHT_DATABASE);
  const { rowCount } = await house.client.query(LACKING);
  if (rowCount === 0) return ok('ledger', `${name} can be used by several proxies`);
  return fault('ledger', `this user may not write into ${name}`, RIGHTS);
}

/** The tables that this user may not read and write. */
const LACKING = `SELECT relname FROM pg_class
  WHERE relnamespace = 'appengine_mailer'::regnamespace AND relkind = 'r'
    AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
      AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))`;

function remedyOf(error: Error): string {
  const saysItself = error instanceof PostgresUnusableError || error instanceof CommandError;
  return saysItself ? AS_SAID : (postgresRemedy(error) ?? USABLE);
}

/** What of the server's settings could forget commits. */
async function checkDurability({ client, risk }: Connection): Promise<Finding> {
  if (risk !== undefined) {
    const text = `${risk} is off: a crash of the server can forget what was sent`;
    return fault('durability', text, `set ${risk} to on in postgresql.conf`);
  }
  // Only members of pg_monitor see the replicas of others; sync_state is null for the rest.
  const { rows } = await client.query<{ replicas: number; unseen: number }>(
    `SELECT count(*) FILTER (WHERE sync_state IN ('async', 'potential'))::integer AS replicas,
      count(*) FILTER (WHERE sync_state IS NULL)::integer AS unseen FROM pg_stat_replication`,
  );
  const { replicas = 0, unseen = 0 } = rows[0] ?? {};
  if (unseen > 0) {
    const text = `whether ${countOf(unseen, 'standby')} of the server have every commit`;
    return notChecked('durability', `${text} (GRANT pg_monitor shows it)`);
  }
  if (replicas === 0) return ok('durability', 'what is committed stays');
  const text = `${countOf(replicas, 'standby')} of the server may lack the last commits`;
  return note('durability', text, REPLICAS);
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
const RIGHTS = 'connect as the user of the proxies (PGUSER), or GRANT it all on these tables';
const AS_SAID = 'set that right, and run this again';
const USABLE = 'see PGHOST, PGDATABASE, PGUSER and PGSSLMODE, and whether PostgreSQL runs';
const REPLICAS =
  'when one of them is promoted, the last commits may be lost, and what was sent then may be sent again: name it in synchronous_standby_names to prevent that';
const START = 'systemctl start appengine-mailer-proxy, or appengine-mailer-proxy by hand';
