import { constants, existsSync, lstatSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { becomeOwner } from '../../host/become-owner.ts';
import { anyText } from '../../host/option-values.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { irregularity } from '../../host/regular-file.ts';
import { databaseTrouble, troubleExitCode } from '../../sqlite/database-trouble.ts';
import type { LedgerReader } from './read-ledger.ts';
import { ledgerFault } from './sqlite/ledger-fault.ts';
import { SqliteLedgerReader } from './sqlite/sqlite-ledger-reader.ts';

/** The setting that all commands on a ledger share. */
export const ledgerOption = {
  value: 'FILE',
  parse: anyText,
  otherwise: './ledger.db, or else the ledger of the service',
  describe: 'File of the ledger',
} as const;

/**
 * Opens a ledger to be read, also beside its proxy, runs the command on it and closes it. Throws CommandError: 74 when it
 * cannot be used, 75 when it is busy, 77 when permission lacks.
 */
export async function withLedger<T>(
  path: string | undefined,
  command: (ledger: LedgerReader, file: string) => Promise<T>,
): Promise<T> {
  const file = ledgerFile(path);
  await becomeOwnerOfLedger(file);
  try {
    const ledger = new SqliteLedgerReader(file);
    try {
      return await command(ledger, file);
    } finally {
      ledger.close();
    }
  } catch (error) {
    throw ledgerFailure(file, error as Error);
  }
}

/** The file of the ledger that an option names, which may be relative. */
export function ledgerFile(path: string | undefined): string {
  return resolve(path ?? (existsSync('ledger.db') ? 'ledger.db' : SERVICE_LEDGER));
}

/** becomeOwner, with the sentences of withLedger. Throws CommandError where there is no such file. */
export async function becomeOwnerOfLedger(file: string): Promise<void> {
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
  await becomeOwner(dirname(file), (error) => ledgerFailure(file, error));
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

/** The ledger of the units in systemd/. */
const SERVICE_LEDGER = '/var/lib/appengine-mailer-proxy/ledger.db';
