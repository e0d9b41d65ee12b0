import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { exclusiveLock } from '../sqlite/exclusive-lock.ts';

/**
 * Takes the lock of the one program that gives messages of a spool back to Exim, or returns undefined when
 * another has it. It is free again when its holder dies.
 */
export function returnLock(folder: string): { release(): void } | undefined {
  return exclusiveLock(lockFile(folder));
}

/** Whether some program gives messages back. */
export function returnRuns(folder: string): boolean {
  if (!existsSync(lockFile(folder))) return false;
  const lock = returnLock(folder);
  lock?.release();
  return lock === undefined;
}

function lockFile(folder: string): string {
  return join(folder, 'return.lock');
}
