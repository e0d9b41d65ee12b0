import { statSync } from 'node:fs';

/**
 * Runs an action on a folder's files as the folder's owner, and is root again after it: without this, what opens a
 * spool or a ledger of an account in this process would give up root for good (law 14).
 */
export function asOwner<T>(folder: string, action: () => T): T {
  const { uid, gid } = statSync(folder);
  if (process.geteuid?.() !== 0 || uid === 0) return action();
  process.setegid?.(gid);
  process.seteuid?.(uid);
  try {
    return action();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}
