import { Client, type ClientConfig } from 'pg';
import { systemClock, type Clock } from '../../../host/clock.ts';
import { connectSocket } from '../../../host/net/connect-socket.ts';
import { withinTime } from '../../../host/within-time.ts';
import { limits } from '../../../limits.ts';
import { isSocket, type PostgresSettings, type ServerAddress } from './libpq-settings.ts';
import { PostgresUnusableError, StandbyError } from './postgres-error.ts';

/** A connection to the server, with what is set in its session. */
export interface Connection {
  client: Client;
  /** The process that serves it, as the server calls it. */
  pid: number;
  /** Whether the server speaks for itself: a pooler in between tells clients other numbers of processes. */
  isDirect: boolean;
  /** Which settings of the server could make it forget what it has committed, as words; undefined for none. */
  risk?: string | undefined;
  /** Ends it at once; what is under way rejects with the reason. */
  destroy(reason?: Error): void;
}

/**
 * Opens a connection to the first of the servers that takes writes. Rejects with PostgresUnusableError when none can serve as
 * a ledger, or with the error of the last one.
 */
export async function connectPostgres(
  settings: PostgresSettings,
  { toRead = false, clock = systemClock }: { toRead?: boolean; clock?: Clock } = {},
): Promise<Connection & { server: ServerAddress }> {
  let fault: unknown;
  for (const server of settings.servers) {
    let connection: Connection | undefined;
    try {
      const opened = await connectTo(settings, server, clock);
      connection = opened;
      const risk = await whileAnswered([opened], limits.databaseAnswerMs, clock, async () =>
        requireFit(opened.client, toRead),
      );
      return { ...opened, server, risk };
    } catch (error) {
      connection?.destroy();
      fault = error;
    }
  }
  throw fault;
}

/** Opens a connection to one server and sets up its session. */
export async function connectTo(
  settings: PostgresSettings,
  server: ServerAddress,
  clock: Clock = systemClock,
): Promise<Connection> {
  const tls = isSocket(server) ? undefined : settings.tls;
  try {
    return await open(settings, server, tls?.options, clock);
  } catch (error) {
    const hasNone = (error as Error).message === 'The server does not support SSL connections';
    if (!tls?.orPlain || !hasNone) throw error;
    return open(settings, server, undefined, clock);
  }
}

/**
 * Does work that asks the server through these connections. After `ms` it rejects and they are ended: a server that falls
 * silent, or that is cut off, ends nothing itself.
 */
export async function whileAnswered<T>(
  connections: readonly Pick<Connection, 'destroy'>[],
  ms: number,
  clock: Clock,
  work: () => Promise<T>,
): Promise<T> {
  return withinTime(ms, 'the server gave no answer', { clock }, async ({ signal: timeUp }) => {
    const late = new Promise<never>((_, reject) => {
      timeUp.addEventListener('abort', () => {
        for (const each of connections) each.destroy(timeUp.reason as Error);
        reject(timeUp.reason as Error);
      });
    });
    return Promise.race([work(), late]);
  });
}

async function open(
  settings: PostgresSettings,
  server: ServerAddress,
  ssl: ClientConfig['ssl'],
  clock: Clock,
): Promise<Connection> {
  const { host, port } = server;
  const to = isSocket(server) ? { path: `${host}/.s.PGSQL.${port}` } : server;
  const socket = await withinTime(
    limits.databaseConnectMs,
    'no connection',
    {},
    async ({ signal: timeUp }) => connectSocket(to, timeUp),
  );
  const password = settings.password(server);
  const client = new Client({
    ...server,
    user: settings.user,
    database: settings.database,
    password: () => password ?? missingPassword(settings.user),
    ssl: ssl ?? false,
    application_name: 'appengine-mailer',
    connectionTimeoutMillis: limits.databaseConnectMs,
    // The client asks its stream to connect, and waits for the event.
    stream: () =>
      Object.assign(socket, { connect: () => process.nextTick(() => socket.emit('connect')) }),
  });
  // A query that is under way gets the error as well; without a listener an idle connection would end the program.
  client.on('error', () => {});
  try {
    await client.connect();
    const pid = await whileAnswered([socket], limits.databaseAnswerMs, clock, async () =>
      setUp(client),
    );
    const { processID } = client as unknown as { processID: number };
    const destroy = (reason?: Error) => socket.destroy(reason);
    return { client, pid, isDirect: pid === processID, destroy };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Sets up the session. Returns the process that serves it. */
async function setUp(client: Client): Promise<number> {
  await client.query(SESSION);
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]?.pid ?? 0;
}

/** The client asks for a password only where the server does. */
function missingPassword(user: string): never {
  throw new PostgresUnusableError(
    `the server asks for the password of the user ${JSON.stringify(user)}, and there is none: set PGPASSWORD, or write ` +
      'it into the file that PGPASSFILE names',
  );
}

/**
 * A commit is on the disk when it is answered, also after somebody changed the server's or the user's setting: what a session
 * has set itself stays. Statements look rows up by index, whatever the planner thinks of tables that have just grown (law 11),
 * and are planned once in limits.databasePlanMs. There are no bitmap scans: they do not mark the index entries of dead rows, and
 * visit them again each time. A server whose client is gone must find that out soon, as the client's locks last until then;
 * these settings do nothing on a Unix socket, where the system tells it.
 */
const SESSION = [
  'SET search_path = appengine_mailer',
  'SET synchronous_commit = on',
  `SET statement_timeout = ${limits.databaseStatementMs}`,
  `SET idle_in_transaction_session_timeout = ${limits.databaseStatementMs}`,
  `SET tcp_keepalives_idle = ${limits.databaseIdleMs / 1000}`,
  `SET tcp_keepalives_interval = ${limits.databaseIdleMs / 1000}`,
  `SET tcp_keepalives_count = ${limits.databaseProbes}`,
  `SET tcp_user_timeout = ${limits.databaseIdleMs * limits.databaseProbes}`,
  'SET jit = off',
  'SET enable_seqscan = off',
  'SET enable_bitmapscan = off',
  'SET enable_hashjoin = off',
  'SET enable_mergejoin = off',
  'SET plan_cache_mode = force_generic_plan',
  'SET client_min_messages = warning',
].join('; ');

/** What could make a server forget. Rejects with PostgresUnusableError for one that cannot serve as a ledger. */
async function requireFit(client: Client, toRead: boolean): Promise<string | undefined> {
  // What this session would have of synchronous_commit, had it not set it.
  const { rows } = await client.query<Server>(`SELECT
    current_setting('server_version_num')::int AS version, current_setting('server_version') AS named,
    (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS commit,
    current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby,
    current_setting('transaction_read_only') AS readonly,
    (SELECT string_agg(name, ', ' ORDER BY name) FROM pg_settings
     WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off') AS risk`);
  const [server] = rows;
  if (!server) throw new PostgresUnusableError('the server says nothing of itself');
  const fault = faultOf(server);
  if (fault !== undefined) throw new PostgresUnusableError(fault);
  if (!toRead) requireDurable(server);
  return server.risk ?? undefined;
}

interface Server {
  version: number;
  named: string;
  commit: string;
  encoding: string;
  standby: boolean;
  readonly: string;
  risk: string | null;
}

function faultOf({ version, named, encoding }: Server): string | undefined {
  if (version < 140_000) return `PostgreSQL 14 or later is needed, and the server has ${named}`;
  if (encoding === 'UTF8' || encoding === 'SQL_ASCII') return undefined;
  return `the database has the encoding ${encoding}, and UTF8 is needed: createdb --encoding=UTF8 --template=template0`;
}

/** Throws PostgresUnusableError for a server that takes no writes, or could forget them. */
function requireDurable({ standby, readonly, commit }: Server): void {
  if (standby) {
    throw new StandbyError('the server is a standby: name the primary, or promote it (pg_promote)');
  }
  if (readonly === 'on') {
    throw new StandbyError('the server takes no writes (default_transaction_read_only is on)');
  }
  if (commit !== 'off' && commit !== 'local') return;
  throw new PostgresUnusableError(
    `synchronous_commit is ${commit}, so that a crash or a failover could forget what was sent: set it to on ` +
      '(ALTER DATABASE … SET synchronous_commit = on; ALTER ROLE … can hide that)',
  );
}
