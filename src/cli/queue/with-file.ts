import { closeSync, constants, existsSync, fstatSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { exitCodes, CommandError } from '../../host/command-error.ts';
import { asOwner, endWith, ownerToBecome, requireRootGivenUp } from '../../host/give-up-root.ts';
import { withoutSecrets } from '../../host/settings.ts';

/** Whether the file is made, or one that is there is read. */
export type Way = 'make' | 'read';

/** What withFile adds when it runs the program again: the file is open already. */
export const openedOption = { flag: true } as const;

/**
 * Opens a file of the administrator's for a command that works on the spool as the owner of its folder, who may not be
 * let into the place of the file. Root opens it, where nobody else can change its folder (law 14), and runs the command
 * again as the owner, to whom it hands the open file. A file that is made is 0600, is not there before, and its name is
 * on disk before the command begins; it is removed when the command leaves it empty. Throws CommandError.
 */
export async function withFile<Result>(
  { file, way, opened, spool }: { file: string; way: Way; opened: boolean; spool: string },
  action: (fd: number) => Promise<Result>,
): Promise<Result> {
  if (opened) return action(HANDED_FD);
  const fd = open(resolve(file), way);
  // An empty file must not be in the way when the command is run again.
  process.once('exit', () => {
    if (way === 'make' && fstatSync(fd).size === 0) rmSync(resolve(file));
  });
  const owner = existsSync(spool) ? ownerToBecome(spool) : undefined;
  if (owner) {
    const [program = '', ...args] = process.argv.slice(1);
    const [command, ...words] = asOwner(owner, [program, '--opened=true', ...args]);
    await endWith(
      spawn(command, words, {
        stdio: ['inherit', 'inherit', 'inherit', fd],
        env: withoutSecrets(process.env),
      }),
    );
  }
  return action(fd);
}

function open(file: string, way: Way): number {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
  const folder = dirname(file);
  try {
    requireRootGivenUp(folder);
    if (way === 'read') {
      const fd = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if (fstatSync(fd).isFile()) return fd;
      throw new CommandError(exitCodes.no, `${file} is not a regular file`);
    }
    const fd = openSync(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    fsyncSync(fd);
    const place = openSync(folder, O_RDONLY);
    fsyncSync(place);
    closeSync(place);
    return fd;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') {
      throw new CommandError(
        exitCodes.no,
        `${file} exists already, and is not overwritten: if an export into it was interrupted, take it back ` +
          '(`queue export --take-back`), and remove the file',
      );
    }
    const denied = code === 'EACCES' || code === 'EPERM' || code === 'ELOOP';
    throw new CommandError(
      denied ? exitCodes.notPermitted : exitCodes.no,
      `cannot open ${file}: ${message}`,
    );
  }
}

/** The descriptor by which the other process is handed the file. */
const HANDED_FD = 3;
