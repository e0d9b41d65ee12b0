import type { QueryResultRow } from 'pg';
import { sleep, type Clock } from '../../../host/clock.ts';
import { limits } from '../../../limits.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import { columns } from './columns.ts';
import { keepTrying } from './keep-trying.ts';
import { postgresFault, PostgresLostError, takenForDead } from './postgres-error.ts';
import type { PostgresSession, Statement, Task } from './postgres-session.ts';
import { sql } from './statements.ts';

/** Recipients of a message, by its stored name. */
export interface Recipients {
  name: string;
  addresses: readonly string[];
}

export interface LinkOptions {
  /** What --ledger names. */
  name: string;
  clock: Clock;
  journal: ProxyJournal;
  session: PostgresSession;
  /** Opens a session, for this owner if the others have not taken it for dead. */
  reopen: (owner: number) => Promise<PostgresSession>;
  /** Called with the name of a message that somebody waits for, when something of it was settled. */
  notified: (message: string) => void;
}

/**
 * A proxy's link to the server: one session after the other. When one is lost, another is opened, however long that takes.
 * What the proxy had begun is still its own then, unless the others have taken it for dead.
 */
export class PostgresLink {
  /** The number of this proxy, also while it is cut off. */
  owner: number;
  readonly #options: LinkOptions;
  readonly #closing = new AbortController();
  /** The connections, or why there are none. */
  #session: PostgresSession | PostgresLostError;
  /** Begun or not: the server's answer was lost. Nothing of these was sent. The next session begins by withdrawing them. */
  #uncertain: Recipients[] = [];

  constructor(options: LinkOptions) {
    this.#options = options;
    this.owner = options.session.owner;
    this.#session = this.#use(options.session);
  }

  /** The present session, if there is one. */
  get session(): PostgresSession | undefined {
    return this.#session instanceof PostgresLostError ? undefined : this.#session;
  }

  /** As PostgresSession.query; rejects with PostgresLostError where there is no session. */
  async query<Row extends QueryResultRow>(
    task: Task,
    statement: Statement,
    values: unknown[],
  ): Promise<Row[]> {
    if (this.#session instanceof PostgresLostError) throw lost(this.#session);
    return this.#session.query<Row>(task, statement, values);
  }

  /** Rejects when the others have taken this proxy for dead; then it comes back as another owner. */
  async requireOwner(task: Task, statement: Statement): Promise<void> {
    const rows = await this.query(task, statement, [this.owner]);
    if (rows.length > 0) return;
    const reason = takenForDead();
    this.session?.end(reason);
    throw lost(reason);
  }

  /** Has the next session withdraw recipients of whom nothing was sent. */
  withdrawLater(recipients: Recipients): void {
    this.#uncertain.push(recipients);
  }

  /** Lists as unknown what was begun and cannot be settled any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    const { session } = this;
    if (!session) return;
    const wall = this.#options.clock.wallNow();
    // Where it fails, the other proxies find out that this one is gone.
    await this.#withdraw(session).catch(() => {});
    await session.query('house', sql.leave, [this.owner, ENDED, wall]).catch(() => {});
    session.end(new Error(HAS_ENDED));
  }

  #use(session: PostgresSession): PostgresSession {
    this.owner = session.owner;
    const { name, journal, notified } = this.#options;
    session.notified = notified;
    if (session.risk !== undefined) journal.databaseUnsafe(name, session.risk);
    void session.lost.then(async (reason) => this.#reconnect(reason));
    return session;
  }

  async #reconnect(reason: Error): Promise<void> {
    this.#session = lost(reason);
    const { clock, journal, name } = this.#options;
    const stop = this.#closing.signal;
    if (stop.aborted) return;
    const since = clock.now();
    const tell = (error: Error) => journal.databaseLost(name, postgresFault(error));
    tell(reason);
    await sleep(clock, limits.databaseRetryMs, { signal: stop, idle: true });
    const failed = (error: Error) => {
      this.#session = lost(error, postgresFault(error));
    };
    const comeBack = async () => this.#comeBack(since);
    await keepTrying(comeBack, { clock, stop, failed, tell });
  }

  /** Opens a session and uses it, unless this proxy ends meanwhile. `since`: when the last one was lost. */
  async #comeBack(since: number): Promise<void> {
    const session = await this.#options.reopen(this.owner);
    try {
      // A begin that fails meanwhile adds to them. None may be left once this session can begin the same recipients anew.
      while (this.#uncertain.length > 0) await this.#withdraw(session);
    } catch (error) {
      session.end(error as Error);
      throw error;
    }
    if (this.#closing.signal.aborted) {
      session.end(new Error(HAS_ENDED));
      return;
    }
    // No await may stand between the end of the loop and this: a begin that fails there would be withdrawn too late.
    const { clock, journal, name } = this.#options;
    journal.databaseBack(name, clock.now() - since, session.owner === this.owner);
    this.#session = this.#use(session);
  }

  /** Gives back what may have been begun by statements without an answer. Others have it where they took over. */
  async #withdraw(session: PostgresSession): Promise<void> {
    const uncertain = this.#uncertain;
    if (uncertain.length === 0) return;
    this.#uncertain = [];
    const withdrawn = uncertain.flatMap(({ name, addresses }) =>
      addresses.map((address) => [name, address, null, null, null]),
    );
    const values = [session.owner, ...columns(withdrawn, 5), this.#options.clock.wallNow()];
    try {
      await session.query('settle', sql.settle, values);
    } catch (error) {
      this.#uncertain.push(...uncertain);
      throw error;
    }
  }
}

function lost(reason: Error, text = reason.message): PostgresLostError {
  if (reason instanceof PostgresLostError) return new PostgresLostError(reason.message);
  return new PostgresLostError(`there is no connection to the server: ${text}`);
}

const HAS_ENDED = 'the proxy has ended';
const ENDED = 'the proxy ended before the backend answered';
