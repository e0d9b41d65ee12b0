import { lstatSync, readlinkSync, statSync, type Stats } from 'node:fs';
import { constants } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { exitCodes, CommandError } from './command-error.ts';

/**
 * Has root become the folder's owner, in the folder's group alone, before anything in the folder is opened (law 14):
 * an account that may write there decides, by links and by the journals that SQLite plays back, which files of the system are
 * written or removed. The program is run again as the owner, and this process only waits for it and ends as it does:
 * Debian's Node.js cannot change its user, as its libuv may have io_uring do files with the rights that it began with.
 * To be called before anything else is done. Returns when there is nothing to give up.
 *
 * `environment` is the one of the new process. Throws CommandError 77 for a folder of root's that others can change; the file system's error where there is no folder.
 */
export async function giveUpRoot(
  folder: string,
  environment: () => NodeJS.ProcessEnv,
): Promise<void> {
  const owner = ownerToBecome(folder);
  if (!owner) return;
  const { spawn } = await import('node:child_process');
  const [file, ...args] = asOwner(owner, process.argv.slice(1));
  await endWith(spawn(file, args, { env: environment(), stdio: 'inherit' }));
}

/** Throws CommandError 77 while this process is root and anybody else can write to the folder. */
export function requireRootGivenUp(folder: string): void {
  const owner = ownerToBecome(folder);
  if (owner) throw refusal(`it belongs to uid ${owner.uid}`, folder);
}

/** Who owns a folder. */
export interface Owner {
  uid: number;
  gid: number;
}

/**
 * Whom root has to become for a folder; undefined where this is not root, or nobody but root can change the folder. Throws
 * CommandError 77 for a folder that is refused.
 */
export function ownerToBecome(folder: string): Owner | undefined {
  const { uid, gid } = statSync(folder);
  if (process.geteuid?.() !== 0) return undefined;
  if (uid === 0) {
    requireUnchangeable(folder);
    return undefined;
  }
  if (gid !== 0) return { uid, gid };
  // As `chown UID FOLDER` leaves it. What the group root may read and write is not for the owner.
  const todo = `give it a group of that account's (chown ${uid}: ${resolve(folder)})`;
  throw refusal(`it belongs to uid ${uid}, and to the group root: ${todo}`, folder);
}

/**
 * The command that runs a script of Node.js, with its arguments, as an owner; it is killed when this process is. It has
 * no terminal to control: who gets into it could type into that of root.
 */
export function asOwner(
  owner: Owner | undefined,
  script: readonly string[],
): [string, ...string[]] {
  const ids = owner ? [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--clear-groups'] : [];
  const command = [
    ...ids,
    '--pdeathsig=KILL',
    '--',
    process.execPath,
    ...process.execArgv,
    ...script,
  ];
  return owner ? ['setsid', '--wait', 'setpriv', ...command] : ['setpriv', ...command];
}

/** What endWith needs of a child process: exim-pipe loads its type alone. */
type Child = ReturnType<(typeof import('node:child_process'))['spawn']>;

/** Waits for a child process, passes signals on to it, and ends as it ended. */
export async function endWith(child: Child): Promise<never> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => child.kill(signal));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
    (done, failed) => {
      child.on('error', failed).on('close', (...ending) => done(ending));
    },
  );
  process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
}

/** Neither the folder nor its place may be exchanged for another while root works there. */
function requireUnchangeable(folder: string): void {
  if (isWritableByOthers(statSync(folder))) {
    throw refusal('it belongs to root, and others can write to it: give it to the account', folder);
  }
  for (const path of onTheWay(folder)) {
    const found = lstatSync(path);
    const isSticky = (found.mode & 0o1000) !== 0;
    if (found.uid === 0 && (isSticky || !isWritableByOthers(found))) continue;
    throw refusal(`others than root can exchange it, in ${path}`, folder);
  }
}

/** All folders and links that the system passes on its way to a folder that is there. */
function* onTheWay(folder: string): Generator<string> {
  let at = '/';
  const names = partsOf(isAbsolute(folder) ? folder : `${process.cwd()}/${folder}`);
  yield at;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const path = name === '..' ? dirname(at) : join(at, name);
    yield path;
    if (!lstatSync(path).isSymbolicLink()) {
      at = path;
      continue;
    }
    const target = readlinkSync(path);
    if (isAbsolute(target)) at = '/';
    names.unshift(...partsOf(target));
  }
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** Who is in the group root, and nobody but root is, counts as root. */
function isWritableByOthers(found: Stats): boolean {
  if (found.isSymbolicLink()) return false;
  return (found.mode & 0o002) !== 0 || ((found.mode & 0o020) !== 0 && found.gid !== 0);
}

function refusal(why: string, folder: string): CommandError {
  return new CommandError(
    exitCodes.notPermitted,
    `root opens nothing in ${resolve(folder)}: ${why}`,
  );
}
