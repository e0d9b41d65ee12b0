import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { exitCodes, type ExitCode } from '../host/command-error.ts';
import { isBusy, isCorruption, isSqliteError } from './is-corruption.ts';
import { DatabaseUnusableError } from './open-database.ts';

/**
 * Why a program cannot work with a database, from which a command's exit code follows: others hold it, it is on a file
 * system that is read-only, permission lacks, it is not as SQLite wrote it, or anything else.
 */
export type DatabaseTrouble = 'busy' | 'read-only' | 'denied' | 'damaged' | 'other';

/** The exit code of a command that meets it. */
export function troubleExitCode(trouble: DatabaseTrouble): ExitCode {
  if (trouble === 'busy') return exitCodes.busy;
  return trouble === 'denied' ? exitCodes.notPermitted : exitCodes.spool;
}

/** What a program has to be allowed: a file or folder, and R_OK, W_OK or both (access(2)). */
export type Need = readonly [path: string, mode: number];

/**
 * Classifies an error that came of working with a database; undefined for one that is neither SQLite's, nor the file
 * system's, nor a DatabaseUnusableError. SQLite says only that it cannot open or write a file: the system says why, and
 * is asked about `needs`.
 */
export function databaseTrouble(
  error: unknown,
  file: string,
  needs: readonly Need[],
): DatabaseTrouble | undefined {
  if (!isOfDatabase(error)) return undefined;
  const { code = '' } = error as NodeJS.ErrnoException;
  if (isBusy(error)) return 'busy';
  if (code === 'EROFS' || denial(dirname(file), READ_WRITE) === 'EROFS') return 'read-only';
  if (DENIED.test(code) || needs.some(([path, mode]) => denial(path, mode) === 'EACCES')) {
    return 'denied';
  }
  return isCorruption(error) ? 'damaged' : 'other';
}

function isOfDatabase(error: unknown): boolean {
  return (
    error instanceof DatabaseUnusableError ||
    isSqliteError(error) ||
    (error instanceof Error && 'syscall' in error)
  );
}

/** Why the system does not let a file or folder be used in this way, as a code; undefined when it does. */
function denial(path: string, mode: number): string | undefined {
  try {
    accessSync(path, mode);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

export const READ_WRITE = constants.R_OK | constants.W_OK;

/** A file that was moved (SQLITE_READONLY_DBMOVED) is no question of permission. */
const DENIED = /^(?:EACCES$|EPERM$|SQLITE_PERM$|SQLITE_READONLY(?!_DBMOVED))/;
