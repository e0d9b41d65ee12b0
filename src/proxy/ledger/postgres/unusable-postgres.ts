import { exitCodes, CommandError, type ExitCode } from '../../../host/command-error.ts';
import { isSqliteError } from '../../../sqlite/is-corruption.ts';
import { DatabaseUnusableError } from '../../../sqlite/open-database.ts';
import {
  isServerError,
  postgresFault,
  PostgresUnusableError,
  SchemaUnusableError,
  StandbyError,
} from './postgres-error.ts';

/** Whether an error comes of working with PostgreSQL, and not of a file of SQLite. */
export function isOfPostgres(error: Error): boolean {
  return (
    isServerError(error) ||
    error instanceof PostgresUnusableError ||
    !(isSqliteError(error) || error instanceof DatabaseUnusableError)
  );
}

/** Why a program cannot work with a ledger in PostgreSQL, and its exit code. */
export function unusablePostgres(name: string, error: Error): Error {
  if (error instanceof CommandError) return error;
  return new CommandError(exitCodeOf(error), `cannot use ${name}: ${postgresFault(error)}`);
}

/** Whether it may pass by itself: nobody answers, or the server starts, is busy or full, or is still a standby. */
export function mayPass(error: Error): boolean {
  if (error instanceof CommandError) return false;
  const code = exitCodeOf(error);
  return code === exitCodes.unreachable || code === exitCodes.busy;
}

/** 69 where nobody answers, 74 for a schema, 75 where it may pass, 77 where permission lacks, and 78 for a setting. */
function exitCodeOf(error: Error): ExitCode {
  if (error instanceof SchemaUnusableError) return exitCodes.spool;
  if (error instanceof StandbyError) return exitCodes.busy;
  if (error instanceof PostgresUnusableError) return exitCodes.configuration;
  if (!isServerError(error)) return exitCodes.unreachable;
  if (/^(?:28|42501)/.test(error.code)) return exitCodes.notPermitted;
  if (/^(?:3D|22|42)/.test(error.code)) return exitCodes.configuration;
  return /^(?:53|55|57)/.test(error.code) ? exitCodes.busy : exitCodes.spool;
}
