import { existsSync } from 'node:fs';
import { becomeOwner } from '../host/become-owner.ts';
import { exitCodes, CommandError } from '../host/command-error.ts';
import { anyText } from '../host/option-values.ts';
import { defaultSpool } from '../host/settings.ts';
import { databaseTrouble, READ_WRITE, type DatabaseTrouble } from '../sqlite/database-trouble.ts';
import { DatabaseUnusableError } from '../sqlite/open-database.ts';
import { foreignSchema } from '../sqlite/schema-faults.ts';
import { limits } from '../limits.ts';
import { drainLock } from './locks.ts';
import { Spool, spoolFile, spoolSchema, type Access } from './spool.ts';

/** What an operator does about a damaged spool. */
export function fsckRemedy(folder: string): string {
  const option = folder === defaultSpool ? '' : ` --spool ${folder}`;
  return `systemctl stop appengine-mailer; appengine-mailer queue fsck${option}; systemctl start appengine-mailer`;
}

/** The spool is not as SQLite wrote it. */
export class SpoolDamagedError extends CommandError {
  override readonly name = 'SpoolDamagedError';
  readonly fault: string;

  constructor(folder: string, fault: string) {
    super(
      exitCodes.spool,
      `the spool ${folder} cannot be used: ${fault}. To do: ${fsckRemedy(folder)}`,
    );
    this.fault = fault;
  }
}

/** How drain's line in `systemctl status` begins while the spool cannot be written. */
export const spoolTroubleStatus = 'the spool cannot be written, so nothing is sent';

/** The option that all commands on a spool share. */
export const spoolOption = {
  value: 'DIR',
  parse: anyText,
  default: defaultSpool,
  describe: 'Folder of the spool',
} as const;

/**
 * Opens the spool for a command, runs the command on it and closes it. When the spool cannot be used,
 * at once or later, it throws CommandError with a sentence: 74, 75 when it is busy, 77 when permission lacks.
 * Drain has the spool's drain lock meanwhile.
 */
export async function withSpool<T>(
  folder: string,
  access: Access,
  command: (spool: Spool) => Promise<T>,
): Promise<T> {
  await becomeOwnerOfSpool(folder);
  const open = async () => {
    const spool = new Spool(folder, access);
    try {
      return await command(spool);
    } finally {
      spool.close();
    }
  };
  if (access === 'drain') {
    return withDrainLock(folder, `another drain is at work on ${folder}`, open);
  }
  try {
    return await open();
  } catch (error) {
    throw error instanceof Error ? failureOf(error, folder) : error;
  }
}

/** becomeOwner, with the sentences of withSpool. */
export async function becomeOwnerOfSpool(
  folder: string,
  environment?: () => NodeJS.ProcessEnv,
): Promise<void> {
  await becomeOwner(folder, (error) => failureOf(error, folder), environment);
}

/** Runs a command that has the drain lock of the spool; `busy` is what to say when a drain has it. */
export async function withDrainLock<T>(
  folder: string,
  busy: string,
  command: () => Promise<T>,
): Promise<T> {
  try {
    const lock = drainLock(folder, limits.lockMs);
    if (!lock) throw new CommandError(exitCodes.busy, busy);
    try {
      return await command();
    } finally {
      lock.release();
    }
  } catch (error) {
    throw error instanceof Error ? failureOf(error, folder) : error;
  }
}

/** What is wrong with a spool that is in use, and what to do where others have changed its schema. */
export function spoolFault(error: unknown, folder: string): string {
  const message = error instanceof Error ? error.message : String(error);
  const foreign = foreignSchema(error, spoolFile(folder), spoolSchema);
  return foreign === undefined ? message : `${message}; ${foreign} (to do: ${fsckRemedy(folder)})`;
}

/** An error of a database or of the file system as a sentence and an exit code; all others stay as they are. */
function failureOf(error: Error, folder: string): Error {
  const file = spoolFile(folder);
  if (error instanceof CommandError) return error;
  const trouble = databaseTrouble(error, file, [[file, READ_WRITE]]);
  if (trouble === undefined && existsSync(file)) return error;
  return failures[trouble ?? 'other'](folder, error);
}

const failures: Record<DatabaseTrouble, (folder: string, error: Error) => CommandError> = {
  'read-only': (folder) =>
    new CommandError(
      exitCodes.spool,
      `the spool ${folder} is on a file system that is read-only here: see whether its disk has failed (dmesg); ` +
        `a spool that is not in ${defaultSpool} has to be named to the service: ` +
        `systemctl edit appengine-mailer, [Service], ReadWritePaths=${folder}`,
    ),
  denied: (folder, { message }) =>
    new CommandError(
      exitCodes.notPermitted,
      `no permission for the spool ${folder}: ${message}; run the command as root or as a member of its group, ` +
        'and see that the owner of the folder owns all files in it, because root becomes that owner',
    ),
  busy: (folder) =>
    new CommandError(
      exitCodes.busy,
      `the spool ${folder} is busy: another program writes to it all the time; try again`,
    ),
  damaged: (folder, { message }) => new SpoolDamagedError(folder, message),
  other: (folder, error) => {
    const { message } = error;
    const file = spoolFile(folder);
    const foreign = foreignSchema(error, file, spoolSchema);
    if (foreign !== undefined) return new SpoolDamagedError(folder, `${message}; ${foreign}`);
    return new CommandError(
      exitCodes.spool,
      error instanceof DatabaseUnusableError || existsSync(file)
        ? `the spool ${folder} cannot be used: ${message}`
        : `there is no spool in ${folder}: name its folder with --spool or APPENGINE_MAILER_SPOOL`,
    );
  },
};
