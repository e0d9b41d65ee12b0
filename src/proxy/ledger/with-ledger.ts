import { accessSync, constants, existsSync, lstatSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { becomeOwner } from '../../host/become-owner.ts';
import { anyText } from '../../host/option-values.ts';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { irregularity } from '../../host/regular-file.ts';
import { DatabaseUnusableError } from '../../sqlite/open-database.ts';
import { ledgerFault } from './ledger-fault.ts';
import { LedgerReader } from './read-ledger.ts';

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
    const ledger = new LedgerReader(file);
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

/** The CommandError for an error of SQLite or of the file system; any other error stays as it is. */
export function ledgerFailure(file: string, error: NodeJS.ErrnoException): Error {
  const { code = '' } = error;
  const isOfLedger =
    error instanceof Database.SqliteError ||
    error instanceof DatabaseUnusableError ||
    'syscall' in error;
  if (error instanceof CommandError || !isOfLedger) return error;
  const text = `the ledger ${file} cannot be used: ${ledgerFault(file, error)}`;
  if (code.startsWith('SQLITE_BUSY')) return new CommandError(exitCodes.busy, text);
  if (/^(?:EACCES|EPERM|SQLITE_PERM|SQLITE_READONLY)/.test(code) || isDenied(file)) {
    return new CommandError(
      exitCodes.notPermitted,
      `no permission for the ledger ${file}: ${error.message}; be root, or in the group of its folder while its proxy runs`,
    );
  }
  return new CommandError(exitCodes.spool, text);
}

/** SQLite does not say that it may not read a file, or not make its log beside it, only that it cannot open it. */
function isDenied(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    accessSync(dirname(file), constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES';
  }
}

/** The ledger of the units in systemd/. */
const SERVICE_LEDGER = '/var/lib/appengine-mailer-proxy/ledger.db';
