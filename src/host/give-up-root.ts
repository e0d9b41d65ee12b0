import { accessSync, constants, lstatSync, realpathSync, statSync, type Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { exitCodes, Failure } from './failure.ts';

/**
 * Makes root the owner of the folder, with the folder's group and no other, for good (law 14). It comes before anything
 * in the folder is opened: whoever may write there decides, by links and by the journals that SQLite plays back,
 * which files of the system are written or removed. Root stays root for a folder that only root can change.
 *
 * Throws Failure 77 for a folder of root's that others can change, and where root cannot become the owner; the file
 * system's error where there is no folder.
 */
export function giveUpRoot(folder: string): void {
  const { uid, gid } = statSync(folder);
  if (process.geteuid?.() !== 0) return;
  if (uid === 0) requireUnchangeable(folder);
  else become(uid, gid, folder);
}

function become(uid: number, gid: number, folder: string): void {
  try {
    process.setgroups?.([]);
    process.setgid?.(gid);
    process.setuid?.(uid);
  } catch (error) {
    throw refusal(`root cannot become its owner, uid ${uid}: ${(error as Error).message}`, folder);
  }
  const users = [process.getuid?.(), process.geteuid?.()];
  const groups = [process.getgid?.(), process.getegid?.(), ...(process.getgroups?.() ?? [])];
  if (!users.every((each) => each === uid) || !groups.every((each) => each === gid)) {
    throw refusal(`root is still ${users.join()} with the groups ${groups.join()}`, folder);
  }
  try {
    accessSync(folder, constants.X_OK);
  } catch (error) {
    throw refusal(`its owner, uid ${uid}, is not let into it: ${(error as Error).message}`, folder);
  }
}

/** Neither the folder nor its place may be exchanged for another while root works there. */
function requireUnchangeable(folder: string): void {
  if (isWritableByOthers(statSync(folder))) {
    throw refusal('it belongs to root, and others can write to it: give it to the account', folder);
  }
  for (const path of new Set([resolve(folder), realpathSync(folder)].flatMap(above))) {
    const found = lstatSync(path);
    const isSticky = (found.mode & 0o1000) !== 0;
    if (found.uid === 0 && (isSticky || !isWritableByOthers(found))) continue;
    throw refusal(`others than root can exchange it, in ${path}`, folder);
  }
}

/** The path and all folders above it. */
function above(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [path, ...above(parent)];
}

/** Who is in the group root, and nobody but root is, counts as root. */
function isWritableByOthers(found: Stats): boolean {
  if (found.isSymbolicLink()) return false;
  return (found.mode & 0o002) !== 0 || ((found.mode & 0o020) !== 0 && found.gid !== 0);
}

function refusal(why: string, folder: string): Failure {
  return new Failure(exitCodes.notPermitted, `root opens nothing in ${resolve(folder)}: ${why}`);
}
