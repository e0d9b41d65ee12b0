import { limits } from '../../../limits.ts';
import { storedTime } from '../../../sqlite/observed-time.ts';
import { openDatabase, type Database } from '../../../sqlite/open-database.ts';
import { addSpending } from '../../pace/spending.ts';
import { ledgerSchema } from '../sqlite/ledger-schema.ts';
import { connectPostgres, type Connection } from './connect-postgres.ts';
import { libpqSettings } from './libpq-settings.ts';
import { PostgresUnusableError } from './postgres-error.ts';
import { migratePostgres } from './postgres-schema.ts';
import { storable } from './storable.ts';

/** How many rows were copied; all that were there. */
export interface Copied {
  messages: number;
  recipients: number;
  unknown: number;
}

/**
 * Copies what a ledger in a file knows into one in PostgreSQL, which is made where there is none; what is there stays. It is
 * one transaction: broken off, nothing was copied, and run again, nothing is copied twice. Recipients that are begun in the file are
 * left of a crash, and are listed as unknown. A new ledger takes the id of the file, which gets another one: hosts that wait for
 * an answer then find it. Only for the holder of the file's lock. Rejects with the errors of either database.
 */
export async function copyLedger(file: string, url: string, wallNow: number): Promise<Copied> {
  const connection = await connectPostgres(libpqSettings(url));
  try {
    await migratePostgres(connection);
    const db = openDatabase(file, { ...ledgerSchema, migrate: true, create: false });
    try {
      const copied = await copyAll(db, connection, wallNow);
      await leaveFile(db, connection);
      return copied;
    } finally {
      db.close();
    }
  } finally {
    connection.destroy();
  }
}

async function copyAll(db: Database, { client }: Connection, wallNow: number): Promise<Copied> {
  // It may take long, and a proxy that needs one of these rows waits meanwhile.
  await client.query('SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0');
  await client.query('BEGIN');
  const { rows } = await client.query<{ now: number }>(
    'SELECT observed_ms::float8 AS now FROM clock',
  );
  // A message keeps its age, in observed time.
  const { now } = rows[0] ?? { now: 0 };
  const laterMs = now - storedTime(db).observedMs;
  const { id } = db.prepare<[], { id: string }>('SELECT id FROM identity').get() ?? { id: '' };
  await client.query(TAKE_ID, [id]);
  const copied: Copied = { messages: 0, recipients: 0, unknown: 0 };
  for (const { what, from, to } of PARTS) {
    const all = db.prepare<unknown[], unknown[]>(from).raw().iterate({ now, laterMs, wallNow });
    for (const page of inPages(all)) {
      const values = (page[0] ?? []).map((_, at) => page.map((row) => storableValue(row[at])));
      const { rowCount } = await client.query(to, values);
      if (rowCount !== page.length) throw new PostgresUnusableError(CONTRADICTION);
      if (what !== undefined) copied[what] += page.length;
    }
  }
  await copyPace(db, client, laterMs);
  await client.query('COMMIT');
  return copied;
}

/** What was spent of quotas counts in the database as well: otherwise a day's quota could be used twice. */
async function copyPace(
  db: Database,
  client: Connection['client'],
  laterMs: number,
): Promise<void> {
  const spent = db.prepare<[], string>('SELECT spent FROM pace').pluck().get();
  if (spent === undefined) return;
  // Locked until the copy is committed.
  const { rows } = await client.query<{ spent: string }>('SELECT spent FROM pace FOR UPDATE');
  const text = addSpending(rows[0]?.spent ?? '', spent, laterMs);
  await client.query('UPDATE pace SET spent = $1, changes = changes + 1', [text]);
}

function* inPages<Row>(rows: Iterable<Row>): Generator<Row[]> {
  let page: Row[] = [];
  for (const row of rows) {
    page.push(row);
    if (page.length < limits.databaseRows) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

function storableValue(value: unknown): unknown {
  return typeof value === 'string' ? storable(value) : value;
}

/**
 * The file's id is now that of the copy: a proxy that is started on the file again is no longer the same. What was spent of quotas
 * is there, and is forgotten here, so that it counts once if the copy is run again. After a crash between the two commits it
 * counts twice: less is sent then than the provider would take.
 */
async function leaveFile(db: Database, { client }: Connection): Promise<void> {
  const { rows } = await client.query<{ id: string }>('SELECT id FROM ledger');
  db.transaction(() => {
    const renew = db.prepare('UPDATE identity SET id = lower(hex(randomblob(16))) WHERE id = ?');
    renew.run(rows[0]?.id ?? '');
    db.prepare('DELETE FROM pace').run();
  })();
}

const CONTRADICTION =
  'a message of the file is there with other bytes, so that nothing was copied: see that this is the right database';

/** $1: the id of the file. For a ledger that is new, and that no proxy has. */
const TAKE_ID = `UPDATE ledger SET id = $1
  WHERE NOT EXISTS (SELECT FROM message) AND NOT EXISTS (SELECT FROM owner)`;

/** What is read from the file, and the statement that adds a page of it, column by column; it touches each row. */
const PARTS: readonly { what?: keyof Copied; from: string; to: string }[] = [
  {
    what: 'messages',
    from: 'SELECT id, digest, max(0, min(:now, at + :laterMs)), doubtful FROM message WHERE :wallNow ORDER BY id',
    to: `INSERT INTO message (name, digest, at, doubtful)
      SELECT name, digest, at, doubtful = 1
      FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::integer[]) AS file (name, digest, at, doubtful)
      ON CONFLICT (name) DO UPDATE SET at = greatest(message.at, excluded.at),
        doubtful = message.doubtful OR excluded.doubtful,
        digest = CASE WHEN message.digest = decode(repeat('00', 32), 'hex') THEN excluded.digest ELSE message.digest END
      WHERE message.digest = excluded.digest OR decode(repeat('00', 32), 'hex') IN (message.digest, excluded.digest)`,
  },
  {
    what: 'recipients',
    from: `SELECT message, address, status, reason FROM recipient
      WHERE state = 'sent' AND :wallNow AND :now AND :laterMs IS NOT NULL ORDER BY message, address`,
    to: `INSERT INTO recipient AS known (message, address, state, status, reason)
      SELECT message, address, 'sent', status, reason
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS file (message, address, status, reason)
      ON CONFLICT (message, address) DO UPDATE SET state = 'sent', ended_at = NULL,
        status = CASE WHEN known.state = 'sent' THEN known.status ELSE excluded.status END,
        reason = CASE WHEN known.state = 'sent' THEN known.reason ELSE excluded.reason END`,
  },
  {
    what: 'unknown',
    from: `SELECT message, address, max(0, min(:now, at + :laterMs)), reason, iif(listed_at = 0, :wallNow, listed_at) FROM unknown
      UNION ALL SELECT message, address, max(0, min(:now, message.at + :laterMs)),
        'the proxy ended before the backend answered', :wallNow
      FROM recipient JOIN message ON message.id = recipient.message WHERE state = 'begun'`,
    to: `WITH file AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
          AS file (message, address, at, reason, listed_at)),
      added AS (
        INSERT INTO unknown (message, address, at, reason, listed_at)
        SELECT * FROM file WHERE NOT EXISTS (SELECT FROM unknown WHERE unknown.message = file.message
          AND unknown.address = file.address AND unknown.reason = file.reason))
      SELECT FROM file`,
  },
  {
    from: 'SELECT low, high, max(0, min(:now, at + :laterMs)) FROM gap WHERE :wallNow',
    to: `WITH file AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) AS file (low, high, at)),
      added AS (
        INSERT INTO gap (low, high, at) SELECT * FROM file
        WHERE NOT EXISTS (SELECT FROM gap WHERE gap.low = file.low AND gap.high = file.high))
      SELECT FROM file`,
  },
];
