import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { exitCodes, CommandError } from '../../../host/command-error.ts';
import { databaseTrouble, READ_WRITE, troubleExitCode } from '../../../sqlite/database-trouble.ts';
import { exclusiveLock } from '../../../sqlite/exclusive-lock.ts';
import { logIsCut } from '../../../sqlite/log-is-cut.ts';
import { tellRepair } from '../../../sqlite/recover/repair-report.ts';
import type { ProxyJournal } from '../../proxy-journal.ts';
import type { Ledger } from '../ledger.ts';
import { ledgerFault } from './ledger-fault.ts';
import { SqliteLedger } from './sqlite-ledger.ts';

/** Opens the ledger of a proxy that has its lock, and tells what is known of damage. Throws unusableLedger. */
export async function openSqliteLedger(file: string, journal: ProxyJournal): Promise<Ledger> {
  // It has to be asked before the file is opened, which hides the damaged end of a log.
  if (logIsCut(file)) journal.ledgerLogCut(file);
  const ledger = orCommandError(file, () => new SqliteLedger(file));
  await tellRepair(file, (sentences) => {
    for (const sentence of sentences) journal.ledgerRepaired(sentence);
  });
  return ledger;
}

/** The lock that one proxy has on its ledger. */
export class LedgerLock {
  readonly #ledgerFile: string;
  #lock: { release(): void } | undefined;

  /**
   * Takes the lock if its file is there: so another proxy with this ledger is found before anything else is done. Where
   * there is none, `take` makes it. Throws CommandError: 75 when another proxy has the lock, else unusableLedger.
   */
  constructor(ledgerFile: string) {
    this.#ledgerFile = ledgerFile;
    if (existsSync(this.#lockFile)) this.take();
  }

  /** Takes the lock unless it is taken. Throws as the constructor does. */
  take(): void {
    this.#lock ??= orCommandError(this.#ledgerFile, () => exclusiveLock(this.#lockFile));
    if (this.#lock) return;
    throw new CommandError(exitCodes.busy, `another proxy is at work on ${this.#ledgerFile}`);
  }

  release(): void {
    this.#lock?.release();
  }

  get #lockFile(): string {
    return `${this.#ledgerFile}.lock`;
  }
}

function orCommandError<T>(file: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw unusableLedger(file, error as Error);
  }
}

/**
 * Why a proxy cannot work with its ledger: 74, 75 or 77 as for a command on a ledger, and 78 where a setting is wrong, such
 * as a path whose folder is not there, or is no folder.
 */
export function unusableLedger(file: string, error: Error): CommandError {
  const folder = dirname(file);
  const trouble = databaseTrouble(error, file, [
    [file, READ_WRITE],
    [folder, READ_WRITE],
  ]);
  const isOfSetting = trouble === undefined || isNoFolder(folder);
  return new CommandError(
    isOfSetting ? exitCodes.configuration : troubleExitCode(trouble),
    `cannot use ${file}: ${ledgerFault(file, error)}`,
  );
}

/** False where it cannot be seen. */
function isNoFolder(folder: string): boolean {
  try {
    return statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true;
  } catch {
    return false;
  }
}
