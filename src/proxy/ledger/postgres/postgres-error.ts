import { DatabaseError } from 'pg';

/** The server, or what answers in its place, cannot serve as a ledger. The message says why and what to do. */
export class PostgresUnusableError extends Error {
  override readonly name: string = 'PostgresUnusableError';
}

/** The tables are not those that this program knows. */
export class SchemaUnusableError extends PostgresUnusableError {
  override readonly name = 'SchemaUnusableError';
}

/** The server takes no writes: a standby, which may be promoted. */
export class StandbyError extends PostgresUnusableError {
  override readonly name = 'StandbyError';
}

/** There is no connection to the server. The message says why. */
export class PostgresLostError extends Error {
  override readonly name = 'PostgresLostError';
}

/** The other proxies list as unknown what this one has begun, since it was silent for too long. */
export function takenForDead(): Error {
  return new Error('another proxy has taken this one for dead');
}

/** The server's own error: its code has five characters (PostgreSQL's manual, appendix A). */
export function isServerError(error: unknown): error is Error & { code: string } {
  return error instanceof DatabaseError && typeof error.code === 'string';
}

/**
 * Whether an error ends the connection, so that nobody knows what came of a statement that was sent: anything but an answer of
 * the server that lets the session go on. Its classes 57P (it stops, or an administrator ended the session), 08 and 58 end it;
 * after XX (a defect of its own) nobody knows how far it got.
 */
export function endsConnection(error: unknown): boolean {
  return !isServerError(error) || /^(?:57P|08|58|XX)/.test(error.code);
}

/** Whether the server ended a statement so that others can go on, and it may be tried again at once. */
export function isDeadlock(error: unknown): boolean {
  return isServerError(error) && error.code.startsWith('40');
}

/** What an error means, and what to do where an administrator has to do something. */
export function postgresFault(error: Error): string {
  const remedy = postgresRemedy(error);
  return `${error.message}${remedy === undefined ? '' : `. To do: ${remedy}`}`;
}

/** What an administrator has to do about an error of the server, where that is known. */
export function postgresRemedy(error: Error): string | undefined {
  if (!isServerError(error)) return undefined;
  return Object.entries(REMEDIES).find(([code]) => error.code.startsWith(code))?.[1];
}

const REMEDIES: Readonly<Record<string, string>> = {
  '28': 'see pg_hba.conf of the server, PGUSER and the password (PGPASSWORD, or the file that PGPASSFILE names)',
  '3D000': 'createdb, or name another database (PGDATABASE)',
  '42501':
    'let the proxies and the commands have the same user (PGUSER), which needs GRANT CREATE ON DATABASE … until the ledger is ' +
    'made; one that only reads needs GRANT USAGE ON SCHEMA appengine_mailer and GRANT SELECT ON ALL TABLES IN SCHEMA appengine_mailer',
  '53100': "make room on the database server's disk",
  '53300': 'raise max_connections: each proxy has four connections',
  '57014':
    'see whether another session holds a lock on the tables (pg_blocking_pids, pg_stat_activity), or whether the server is too slow',
};
