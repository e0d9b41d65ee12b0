import { constants, existsSync, lstatSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { becomeOwner } from '../../host/become-owner.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { withSettings, type SettingName } from '../../host/settings.ts';
import { irregularity } from '../../host/regular-file.ts';
import { databaseTrouble, troubleExitCode } from '../../sqlite/database-trouble.ts';
import { ledgerPlace, SERVICE_FOLDER, type LedgerPlace } from './ledger-place.ts';
import { ledgerText } from './postgres/postgres-url.ts';
import type { Copied } from './postgres/copy-ledger.ts';
import type { LedgerReader } from './read-ledger.ts';
import { ledgerFault } from './sqlite/ledger-fault.ts';
import { SqliteLedgerReader } from './sqlite/sqlite-ledger-reader.ts';

/** The setting that all commands on a ledger share. */
export const ledgerOption = {
  value: 'FILE|postgres:[//HOST/DATABASE]',
  parse: ledgerText,
  otherwise: './ledger.db, or else the ledger of the service',
  describe: 'File of the ledger, or its PostgreSQL database',
} as const;

/**
 * Opens a ledger to be read, also beside its proxy, runs the command on it and closes it. Throws CommandError: 74 when it
 * cannot be used, 75 when it is busy, 77 when permission lacks.
 */
export async function withLedger<T>(
  given: string | undefined,
  command: (ledger: LedgerReader, name: string) => Promise<T>,
): Promise<T> {
  const { kind, name } = chosenLedger(given);
  await (kind === 'file' ? becomeOwnerOfLedger(name) : becomeServiceAccount());
  try {
    const ledger = kind === 'file' ? new SqliteLedgerReader(name) : await openPostgres(name);
    try {
      return await command(ledger, name);
    } finally {
      await ledger.close();
    }
  } catch (error) {
    throw kind === 'file' ? ledgerFailure(name, error as Error) : error;
  }
}

async function openPostgres(name: string): Promise<LedgerReader> {
  const { PostgresLedgerReader } = await import('./postgres/postgres-ledger-reader.ts');
  return PostgresLedgerReader.open(name);
}

/** The ledger that an option names, or else the one that is here or of the service. */
export function chosenLedger(given: string | undefined): LedgerPlace {
  return ledgerPlace(
    given ?? (existsSync('ledger.db') ? 'ledger.db' : join(SERVICE_FOLDER, 'ledger.db')),
  );
}

/** copyLedger. Rejects with CommandError where the database is at fault. */
export async function copyIntoPostgres(
  file: string,
  url: string,
  wallNow: number,
): Promise<Copied> {
  const { copyLedger } = await import('./postgres/copy-ledger.ts');
  const { isOfPostgres, unusablePostgres } = await import('./postgres/unusable-postgres.ts');
  return copyLedger(file, url, wallNow).catch((error: Error) => {
    throw isOfPostgres(error) ? unusablePostgres(url, error) : error;
  });
}

/**
 * becomeOwner, with the sentences of withLedger; these secrets go along. Throws CommandError where there is no such file.
 */
export async function becomeOwnerOfLedger(
  file: string,
  secrets: readonly SettingName[] = [],
): Promise<void> {
  try {
    const found = lstatSync(file, { throwIfNoEntry: false });
    if (!found) {
      throw new CommandError(exitCodes.spool, `there is no ledger ${file}: name it with --ledger`);
    }
    const fault = irregularity(file, found);
    if (fault !== undefined) throw new CommandError(exitCodes.spool, fault);
  } catch (error) {
    throw ledgerFailure(file, error as Error);
  }
  const environment = () => withSettings(secrets);
  const failure = (error: Error) => ledgerFailure(file, error);
  await becomeOwner(dirname(file), failure, ...(secrets.length > 0 ? [environment] : []));
}

/**
 * Has root become the account of the service, where there is one, for a ledger in PostgreSQL: with the password, and with the
 * account's name where the server goes by that. Throws CommandError.
 */
export async function becomeServiceAccount(): Promise<void> {
  if (!existsSync(SERVICE_FOLDER)) return;
  await becomeOwner(SERVICE_FOLDER, notPermitted, () => withSettings(['PGPASSWORD']));
}

function notPermitted({ message }: Error): CommandError {
  return new CommandError(exitCodes.notPermitted, message);
}

/** An error of a database or of the file system as a sentence and an exit code; all others stay as they are. */
export function ledgerFailure(file: string, error: Error): Error {
  if (error instanceof CommandError) return error;
  const trouble = databaseTrouble(error, file, [
    [file, constants.R_OK],
    [dirname(file), constants.W_OK], // SQLite makes its log there.
  ]);
  if (trouble === undefined) return error;
  if (trouble === 'denied') {
    return new CommandError(
      exitCodes.notPermitted,
      `no permission for the ledger ${file}: ${error.message}; be root, or in the group of its folder while its proxy runs`,
    );
  }
  return new CommandError(
    troubleExitCode(trouble),
    `the ledger ${file} cannot be used: ${ledgerFault(file, error)}`,
  );
}
