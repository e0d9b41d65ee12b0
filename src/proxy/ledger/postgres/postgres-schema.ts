import type { Connection } from './connect-postgres.ts';
import { MIGRATION, OWNERS } from './advisory-locks.ts';
import { PostgresUnusableError, SchemaUnusableError } from './postgres-error.ts';

/**
 * Brings the schema appengine_mailer of the database up to date, and makes it where there is none. Several proxies may do so
 * at once. Rejects with SchemaUnusableError for a schema of a newer version.
 */
export async function migratePostgres({ client }: Connection): Promise<void> {
  if ((await schemaOf({ client })) === migrations.length) return;
  await client.query('BEGIN');
  try {
    await client.query(`SELECT pg_advisory_xact_lock(${OWNERS}, ${MIGRATION})`);
    const found = await schemaOf({ client });
    if (found > migrations.length) throw newer(found);
    if (found === 0) await client.query('CREATE SCHEMA IF NOT EXISTS appengine_mailer');
    for (const migration of migrations.slice(found)) await client.query(migration);
    await client.query('UPDATE ledger SET schema = $1', [migrations.length]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

/** Rejects with SchemaUnusableError unless the database has the schema of this program, which it does not change. */
export async function requireSchema(connection: Pick<Connection, 'client'>): Promise<void> {
  const missing = await schemaNote(connection);
  if (missing !== undefined) throw new SchemaUnusableError(missing);
}

/**
 * Rejects with PostgresUnusableError unless the database has the ledger with this id: a name that leads to another server now, or
 * a database that was made anew, has forgotten what was sent.
 */
export async function requireLedger({ client }: Connection, id: string): Promise<void> {
  const isThere = (await schemaOf({ client })) > 0;
  const { rows } = isThere
    ? await client.query<{ id: string }>('SELECT id FROM appengine_mailer.ledger')
    : { rows: [] };
  if (rows[0]?.id === id) return requireSchema({ client });
  const found = rows[0] ? `another ledger (${rows[0].id})` : 'no ledger';
  throw new PostgresUnusableError(
    `the database has ${found}, and not the one that this proxy began with (${id}): what was sent before would be sent again. ` +
      'To do: let PGHOST and PGDATABASE lead to the former database, or restart the proxy to use this one',
  );
}

/** What a proxy will do to the schema; undefined for nothing. Rejects with SchemaUnusableError for a newer one. */
export async function schemaNote({
  client,
}: Pick<Connection, 'client'>): Promise<string | undefined> {
  const [found, needed] = [await schemaOf({ client }), migrations.length];
  if (found > needed) throw newer(found);
  if (found === 0) return 'there is no ledger in this database: a proxy makes one when it starts';
  if (found === needed) return undefined;
  return `the ledger has schema ${found} and this program needs ${needed}: a proxy that starts brings it up to date`;
}

/** The number of the schema that the database has; 0 for none. */
async function schemaOf({ client }: Pick<Connection, 'client'>): Promise<number> {
  // Not to_regclass, which may still remember that there was none before another proxy made it.
  const there = `SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'appengine_mailer' AND relname = 'ledger') AS is`;
  const { rows } = await client.query<{ is: boolean }>(there);
  if (rows[0]?.is !== true) return 0;
  const ledger = await client.query<{ schema: number }>(
    // By its full name: a user who may not use the schema is told so.
    'SELECT schema FROM appengine_mailer.ledger',
  );
  return ledger.rows[0]?.schema ?? 0;
}

function newer(found: number): SchemaUnusableError {
  return new SchemaUnusableError(
    `the ledger has schema ${found} and this program knows schemas up to ${migrations.length}: a newer ` +
      'appengine-mailer uses it; install that version or a later one',
  );
}

/**
 * The tables mean what those of the same names in SQLite mean (sqlite/ledger-schema.ts), and a message is named in the same
 * way. The differences:
 *
 * ledger     one row: the id of this ledger, and the number of its schema
 * recipient  owner: the proxy that has begun it, also of one that was sent. waited: another proxy waits for it. ended: it was not
 *            sent, or nobody can know; its verdict is kept for limits.unheardMs for those that wait or ask, and it is begun
 *            anew as if there was no row. A withdrawn one has no verdict
 * owner      the proxies that use the ledger, by a number that each draws when it starts; missing_ms is for how long the
 *            others have seen no look of it (look-loop.ts)
 * pace       at: the time of the last change, as the proxy counted it on since the last look; changes: how many there were
 * clock      looks: how often a proxy has added time (look-loop.ts)
 * proxy      the proxies that keep figures, by host and address, so that a restart goes on with them; used_at: observed time
 * figure     proxy: whose it is; '' for those that are set, and belong to all
 * sample     the rings of each proxy
 *
 * There is no foreign key, which would be looked up with every recipient: both are written and deleted together.
 */
export const migrations: readonly string[] = [
  `
CREATE TABLE ledger (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  id text NOT NULL CHECK (id ~ '^[0-9a-f]{32}$'),
  schema integer NOT NULL
);
INSERT INTO ledger (id, schema) VALUES (replace(gen_random_uuid()::text, '-', ''), 0);

CREATE TABLE message (
  name text COLLATE "C" PRIMARY KEY,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  at bigint NOT NULL,
  doubtful boolean NOT NULL DEFAULT false
);
CREATE INDEX message_at ON message (at);

CREATE TABLE recipient (
  message text COLLATE "C" NOT NULL,
  address text COLLATE "C" NOT NULL,
  state text NOT NULL CHECK (state IN ('begun', 'sent', 'ended')),
  owner integer,
  waited boolean NOT NULL DEFAULT false,
  status text CHECK (status ~ '^[245][.][0-9]{1,3}[.][0-9]{1,3}$'),
  reason text CHECK ((reason IS NULL) = (status IS NULL)),
  ended_at bigint CHECK ((ended_at IS NULL) = (state <> 'ended')),
  PRIMARY KEY (message, address),
  CHECK (state <> 'begun' OR (owner IS NOT NULL AND status IS NULL)),
  CHECK (state <> 'sent' OR (status IS NOT NULL AND status LIKE '2.%'))
);
CREATE INDEX recipient_begun ON recipient (owner) WHERE state = 'begun';
CREATE INDEX recipient_ended ON recipient (ended_at) WHERE state = 'ended';

CREATE TABLE unknown (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  message text COLLATE "C" NOT NULL,
  address text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  reason text NOT NULL,
  listed_at bigint NOT NULL
);
CREATE INDEX unknown_at ON unknown (at);
CREATE INDEX unknown_message ON unknown (message, address);

CREATE TABLE gap (low text COLLATE "C" NOT NULL, high text COLLATE "C" NOT NULL, at bigint NOT NULL);

CREATE TABLE owner (
  number integer PRIMARY KEY CHECK (number > 0),
  missing_ms bigint NOT NULL DEFAULT 0,
  checked bigint NOT NULL DEFAULT 0
);

CREATE TABLE pace (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  spent text NOT NULL DEFAULT '',
  at bigint NOT NULL DEFAULT 0,
  changes bigint NOT NULL DEFAULT 0
);
INSERT INTO pace DEFAULT VALUES;

CREATE TABLE clock (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  observed_ms bigint NOT NULL CHECK (observed_ms BETWEEN 0 AND 1000000000000000),
  written_at bigint NOT NULL,
  looks bigint NOT NULL DEFAULT 0
);
INSERT INTO clock (observed_ms, written_at) VALUES (2592000000, extract(epoch FROM now()) * 1000);
`,
  `
CREATE TABLE proxy (name text COLLATE "C" PRIMARY KEY, used_at bigint NOT NULL);

CREATE TABLE figure (
  proxy text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  label text COLLATE "C" NOT NULL,
  value bigint NOT NULL CHECK (value >= 0),
  PRIMARY KEY (proxy, name, label)
);

CREATE TABLE sample (
  proxy text COLLATE "C" NOT NULL,
  step_ms bigint NOT NULL CHECK (step_ms > 0),
  slot bigint NOT NULL CHECK (slot >= 0),
  at bigint NOT NULL,
  figures text NOT NULL,
  PRIMARY KEY (proxy, step_ms, slot)
);
`,
];
