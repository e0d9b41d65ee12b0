import type { QueryResultRow } from 'pg';
import { systemClock, type Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import { OWNERS, WORKERS } from './advisory-locks.ts';
import { connectPostgres, connectTo, whileAnswered, type Connection } from './connect-postgres.ts';
import type { PostgresSettings } from './libpq-settings.ts';
import {
  endsConnection,
  isDeadlock,
  PostgresLostError,
  PostgresUnusableError,
} from './postgres-error.ts';
import { migratePostgres, requireLedger } from './postgres-schema.ts';

/** A statement by name, which the server plans once in limits.databasePlanMs. */
export interface Statement {
  name: string;
  text: string;
}

/**
 * What a session has a connection for: `house` holds the owner's lock, listens and keeps house; the others have one
 * statement under way at a time, for all that wait meanwhile.
 */
export const tasks = ['house', 'read', 'begin', 'settle'] as const;
export type Task = (typeof tasks)[number];

/** The name of the notifications, whose payload is the stored name of a message. */
export const CHANNEL = 'appengine_mailer';

/** What a proxy that has lost its session comes back with: its number, and the id of its ledger. */
export interface Former {
  owner: number;
  ledgerId: string;
}

/**
 * The connections of one proxy to the server, and the advisory lock by which they are found when it comes back. When one of them is lost
 * all are: then `lost` resolves, and whatever is under way rejects with PostgresLostError.
 */
export class PostgresSession {
  /** The number of this proxy among those that use the ledger. */
  readonly owner: number;
  /** Resolves with the reason when the session is lost or closed. */
  readonly lost: Promise<Error>;
  /** See Connection. */
  readonly risk: string | undefined;
  /** Called with the name of a message that somebody waits for, when something of it was settled. */
  notified: (message: string) => void = () => {};
  readonly #connections: Record<Task, Connection>;
  readonly #clock: Clock;
  /** The last statement of each connection. */
  readonly #last: Record<Task, Promise<unknown>> = {
    house: Promise.resolve(),
    read: Promise.resolve(),
    begin: Promise.resolve(),
    settle: Promise.resolve(),
  };
  /** When the plans of each connection are to be made anew, by the clock. */
  readonly #planAgainAt: Record<Task, number> = { house: 0, read: 0, begin: 0, settle: 0 };
  #tellLost: (reason: Error) => void = () => {};
  #reason: Error | undefined;

  private constructor(connections: Record<Task, Connection>, owner: number, clock: Clock) {
    this.#connections = connections;
    this.owner = owner;
    this.risk = connections.house.risk;
    this.#clock = clock;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
    for (const { client } of Object.values(connections)) {
      client.on('error', (error) => this.end(error));
      client.on('end', () => this.end(new Error('the server closed the connection')));
    }
    connections.house.client.on('notification', ({ payload }) => this.notified(payload ?? ''));
  }

  /**
   * Connects, and takes the lock of this proxy. At first it makes or updates the tables, and draws a number; a former proxy finds
   * its ledger there, or it rejects, and keeps its number if it still has it. Rejects as connectPostgres does.
   */
  static async open(
    settings: PostgresSettings,
    clock: Clock,
    former?: Former,
  ): Promise<PostgresSession> {
    const connections = await connectSessions(settings, clock);
    const all = Object.values(connections);
    try {
      const number = await whileAnswered(all, limits.databaseOpenMs, clock, async () =>
        takeUp(connections, clock, former),
      );
      return new PostgresSession(connections, number, clock);
    } catch (error) {
      for (const each of all) each.destroy();
      throw error;
    }
  }

  /**
   * Runs one statement, in a transaction of its own, after those that the task's connection has before it. Rejects with the
   * server's error, or with PostgresLostError.
   */
  async query<Row extends QueryResultRow>(
    task: Task,
    statement: Statement,
    values: unknown[],
  ): Promise<Row[]> {
    const done = this.#last[task].then(async () => this.#try<Row>(task, statement, values));
    this.#last[task] = done.catch(() => {});
    return done;
  }

  async #try<Row extends QueryResultRow>(
    task: Task,
    statement: Statement,
    values: unknown[],
  ): Promise<Row[]> {
    const { client } = this.#connections[task];
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#answer(async () => {
          await this.#discardOldPlans(task);
          const { rows } = await client.query<Row>({ ...statement, values });
          return rows;
        });
      } catch (error) {
        if (!isDeadlock(error) || tries >= limits.databaseTries) throw error;
      }
    }
  }

  /** A plan is made for tables as large as they are then: one for a few rows reads all of many. */
  async #discardOldPlans(task: Task): Promise<void> {
    const now = this.#clock.now();
    if (now < this.#planAgainAt[task]) return;
    await this.#connections[task].client.query('DISCARD PLANS');
    this.#planAgainAt[task] = now + limits.databasePlanMs;
  }

  /** Ends all connections at once, and with them the lock. */
  end(reason: Error): void {
    if (this.#reason) return;
    this.#reason = reason;
    for (const connection of Object.values(this.#connections)) connection.destroy();
    this.#tellLost(reason);
  }

  /** The answer of the server, for which it has limits.databaseAnswerMs. */
  async #answer<T>(ask: () => Promise<T>): Promise<T> {
    this.#requireConnected();
    const text = `the server gave no answer within ${limits.databaseAnswerMs / 1000} s`;
    const stop = this.#clock.timer(limits.databaseAnswerMs, () => this.end(new Error(text)));
    try {
      return await ask();
    } catch (error) {
      if (endsConnection(error)) this.end(error as Error);
      this.#requireConnected();
      throw error;
    } finally {
      stop();
    }
  }

  #requireConnected(): void {
    if (this.#reason) throw new PostgresLostError(this.#reason.message);
  }
}

/** A connection for each task, to the same server. Rejects as connectPostgres does, and for a pooler that is not fit. */
export async function connectSessions(
  settings: PostgresSettings,
  clock: Clock = systemClock,
): Promise<Record<Task, Connection>> {
  const { server, ...house } = await connectPostgres(settings, { clock });
  const opened: Connection[] = [house];
  try {
    while (opened.length < tasks.length) opened.push(await connectTo(settings, server, clock));
    await whileAnswered(opened, limits.databaseOpenMs, clock, async () => requireSessions(opened));
  } catch (error) {
    for (const each of opened) each.destroy();
    throw error;
  }
  return Object.fromEntries(tasks.map((task, at) => [task, opened[at]])) as Record<
    Task,
    Connection
  >;
}

/**
 * Rejects with PostgresUnusableError when a pooler gives each transaction another session: locks and notifications would be
 * lost. While one connection is within a transaction, another one's next statement has to be served by its own process.
 */
async function requireSessions(connections: readonly Connection[]): Promise<void> {
  if (connections.every(({ isDirect }) => isDirect)) return;
  const pids = new Set(connections.map(({ pid }) => pid));
  let isShared = pids.size < connections.length;
  for (const { client } of connections) {
    await client.query('BEGIN');
    for (const other of connections) {
      const { rows } = await other.client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      isShared ||= rows[0]?.pid !== other.pid;
    }
    await client.query('COMMIT');
  }
  if (isShared) throw new PostgresUnusableError(POOLER);
}

const POOLER =
  'a pooler in transaction mode (PgBouncer) is in between, where locks and notifications get lost: connect to the server ' +
  'itself, or to a pool in session mode (pool_mode = session)';

/** Finds or makes the ledger, and takes the locks of this proxy. Returns its number. */
async function takeUp(
  { house, ...workers }: Record<Task, Connection>,
  clock: Clock,
  former?: Former,
): Promise<number> {
  await (former ? requireLedger(house, former.ledgerId) : migratePostgres(house));
  const number = (await takeAgain(house, former?.owner)) ?? (await takeNew(house, clock));
  for (const { client } of Object.values(workers)) {
    await client.query('SELECT pg_advisory_lock_shared($1, $2)', [WORKERS, number]);
  }
  await house.client.query(`LISTEN ${CHANNEL}`);
  return number;
}

/** Takes the lock of an owner again; undefined when another proxy has taken this one for dead. */
async function takeAgain({ client }: Connection, owner?: number): Promise<number | undefined> {
  if (owner === undefined) return undefined;
  // The server may not know yet that the former connections are gone; what they still run must not be done after this.
  const { rows } = await client.query<{ ended: boolean }>(
    `SELECT pg_terminate_backend(pid, ${limits.databaseStatementMs}) AS ended FROM pg_locks
     WHERE locktype = 'advisory' AND classid IN ($1::bigint, $2::bigint) AND objid = $3::bigint
       AND pid <> pg_backend_pid()
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [OWNERS, WORKERS, owner],
  );
  if (rows.some(({ ended }) => !ended)) throw new Error('the former connections have not ended');
  await client.query('SELECT pg_advisory_lock($1, $2)', [OWNERS, owner]);
  const { rowCount } = await client.query('SELECT FROM owner WHERE number = $1', [owner]);
  if (rowCount === 1) return owner;
  await client.query('SELECT pg_advisory_unlock($1, $2)', [OWNERS, owner]);
  return undefined;
}

/** Takes the lock of a new owner. Drawn, not counted: a standby that is promoted may have lost the last of a sequence. */
async function takeNew({ client }: Connection, clock: Clock): Promise<number> {
  for (;;) {
    const number = 1 + (clock.randomBytes(4).readUInt32BE() % 0x7f_ff_ff_ff);
    const { rows } = await client.query<{ free: boolean }>(
      'SELECT pg_try_advisory_lock($1, $2) AS free',
      [OWNERS, number],
    );
    if (rows[0]?.free !== true) continue;
    const added = await client.query(
      'INSERT INTO owner (number) VALUES ($1) ON CONFLICT DO NOTHING',
      [number],
    );
    if (added.rowCount === 1) return number;
    await client.query('SELECT pg_advisory_unlock($1, $2)', [OWNERS, number]);
  }
}
