import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import type { Options } from 'yargs';
import { exitCodes, Failure } from '../host/failure.ts';
import { defaultSpool, Spool, type Access } from './spool.ts';

/** The option that all commands on a spool share. */
export const spoolOption = {
  type: 'string',
  default: defaultSpool,
  describe: 'Folder of the spool',
  requiresArg: true,
} as const satisfies Options;

/** Opens the spool for a command: 74 or 77, with a sentence, when it cannot be used. */
export function openSpool(folder: string, access: Access): Spool {
  return orFailure(folder, () => new Spool(folder, access));
}

/** Runs what needs the spool's folder or file, and ends with 74 or 77 when these are not usable. */
export function orFailure<T>(folder: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // SQLite says only that it cannot open or write a file; the system says why.
    const denied = code === 'EACCES' || code === 'EPERM' || isDenied(join(folder, 'spool.db'));
    throw denied
      ? new Failure(
          exitCodes.notPermitted,
          `no permission for the spool ${folder}: ${message}; be root or in its group`,
        )
      : new Failure(exitCodes.spool, `the spool ${folder} cannot be opened: ${message}`);
  }
}

function isDenied(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES';
  }
}
