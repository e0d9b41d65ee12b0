import type { QueryResultRow } from 'pg';
import { showTime, type ShownTime } from '../../../sqlite/shown-time.ts';
import { limits } from '../../../limits.ts';
import {
  ANY_TIME,
  BEFORE_ALL,
  knownOfPosted,
  knownOfUnknown,
  type KnownFilter,
  type KnownRecipient,
  type LedgerReader,
  type LedgerStats,
  type PostedRow,
  type UnknownRow,
} from '../read-ledger.ts';
import { connectPostgres, type Connection } from './connect-postgres.ts';
import { libpqSettings } from './libpq-settings.ts';
import { requireSchema } from './postgres-schema.ts';
import { unusablePostgres } from './unusable-postgres.ts';

/** A ledger in PostgreSQL that is open to be read, also beside its proxies, and on a standby. */
export class PostgresLedgerReader implements LedgerReader {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Rejects with unusablePostgres, and with CommandError 78 for a setting. */
  static async open(name: string): Promise<PostgresLedgerReader> {
    let connection: Connection | undefined;
    try {
      connection = await connectPostgres(libpqSettings(name), { toRead: true });
      await requireSchema(connection);
      // Some commands read all rows: that takes its time, and goes fastest as the server likes to plan it.
      await connection.client.query(ANY_PLAN);
      return new PostgresLedgerReader(connection);
    } catch (error) {
      connection?.destroy();
      throw unusablePostgres(name, error as Error);
    }
  }

  async close(): Promise<void> {
    await this.#connection.client.end();
  }

  async *list(filter: KnownFilter, wallNow: number): AsyncGenerator<KnownRecipient> {
    if (filter.states.includes('unknown')) yield* this.#listUnknown(filter);
    for (const state of ['begun', 'sent'] as const) {
      if (filter.states.includes(state)) yield* this.#listPosted(state, filter, wallNow);
    }
  }

  async *#listUnknown({
    recipient,
    before = ANY_TIME,
  }: KnownFilter): AsyncGenerator<KnownRecipient> {
    const page = `${UNKNOWN} AND number > $3 AND listed_at < $2 AND ${FITS} ORDER BY number LIMIT $4`;
    const rows = inPages<NumberedRow>(async (last, limit) =>
      this.rows(page, [recipient ?? null, before, last?.number ?? 0, limit]),
    );
    for await (const row of rows) yield knownOfUnknown(row);
  }

  async *#listPosted(
    state: 'begun' | 'sent',
    { recipient, before = ANY_TIME }: KnownFilter,
    wallNow: number,
  ): AsyncGenerator<KnownRecipient> {
    const shown = await this.#shownTime(wallNow);
    const page = `${POSTED} AND state = '${state}' AND (message, address) > ($3, $4) AND at < $2 AND ${FITS}
      ORDER BY message, address LIMIT $5`;
    const observed = before + shown.now - wallNow;
    const rows = inPages<PostedRow>(async (last, limit) => {
      const { message, address } = last ?? BEFORE_ALL;
      return this.rows(page, [recipient ?? null, observed, message, address, limit]);
    });
    for await (const row of rows) yield knownOfPosted(row, shown);
  }

  async find(id: string, wallNow: number): Promise<KnownRecipient[]> {
    const shown = await this.#shownTime(wallNow);
    const names = `message IN (SELECT $1 UNION SELECT name FROM message WHERE split_part(name, '/', 2) = $1
      UNION SELECT message FROM unknown WHERE split_part(message, '/', 2) = $1)`;
    const unknown = await this.rows<UnknownRow>(`${UNKNOWN} AND ${names} ORDER BY number`, [id]);
    const posted = await this.rows<PostedRow>(
      `${POSTED} AND state <> 'ended' AND ${names} ORDER BY message, address`,
      [id],
    );
    return [...unknown.map(knownOfUnknown), ...posted.map((row) => knownOfPosted(row, shown))];
  }

  async stats(wallNow: number): Promise<LedgerStats> {
    const { wall } = await this.#shownTime(wallNow);
    // One statement sees one moment.
    const [row] = await this.rows<StatsRow>(
      `SELECT (SELECT count(*) FROM message)::float8 AS messages,
        (SELECT count(*) FROM unknown)::float8 AS unknown,
        (SELECT count(*) FROM recipient WHERE state = 'begun')::float8 AS begun,
        (SELECT count(*) FROM recipient WHERE state = 'sent')::float8 AS sent,
        (SELECT min(listed_at) FROM unknown)::float8 AS "oldestUnknownAt",
        (SELECT min(at) FROM message)::float8 AS "oldestPostedAt",
        (SELECT max(at) FROM message)::float8 AS "latestPostedAt"`,
    );
    const { messages = 0, unknown = 0, begun = 0, sent = 0 } = row ?? {};
    return {
      messages,
      recipients: { unknown, begun, sent },
      oldestUnknownAt: row?.oldestUnknownAt ?? null,
      oldestPostedAt: wall(row?.oldestPostedAt ?? null),
      latestPostedAt: wall(row?.latestPostedAt ?? null),
    };
  }

  /** The rows of a query. */
  async rows<Row extends QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.#connection.client.query<Row>(text, values)).rows;
  }

  async #shownTime(wallNow: number): Promise<ShownTime> {
    const [row] = await this.rows<{ observedMs: number; writtenAt: number }>(
      'SELECT observed_ms::float8 AS "observedMs", written_at::float8 AS "writtenAt" FROM clock',
    );
    return showTime(row ?? { observedMs: wallNow, writtenAt: wallNow }, wallNow);
  }
}

/** The rows of all pages; `read` returns at most `limit` rows that follow the last row of the previous page. */
async function* inPages<Row>(
  read: (last: Row | undefined, limit: number) => Promise<Row[]>,
): AsyncGenerator<Row> {
  for (let last: Row | undefined; ;) {
    const rows = await read(last, limits.listPage);
    yield* rows;
    if (rows.length < limits.listPage) return;
    last = rows.at(-1);
  }
}

type NumberedRow = UnknownRow & { number: string };

type StatsRow = Record<'messages' | 'unknown' | 'begun' | 'sent', number> &
  Record<'oldestUnknownAt' | 'oldestPostedAt' | 'latestPostedAt', number | null>;

const ANY_PLAN =
  'SET statement_timeout = 0; RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_hashjoin; RESET enable_mergejoin';

const UNKNOWN = `SELECT number, message, address, reason, listed_at::float8 AS at,
    EXISTS (SELECT FROM recipient
      WHERE message = unknown.message AND address = unknown.address AND state = 'sent') AS "sentAgain"
  FROM unknown WHERE TRUE`;
const POSTED = `SELECT message, address, state, status, reason, message.at::float8 AS at
  FROM recipient JOIN message ON message.name = recipient.message WHERE TRUE`;
/** $1: an address, or @domain for those that end with it; upper and lower case are the same. */
const FITS = `($1::text IS NULL OR lower($1) =
  CASE WHEN starts_with($1, '@') THEN right(lower(address), length($1)) ELSE lower(address) END)`;
