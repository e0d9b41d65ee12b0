import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { exclusiveLock } from '../sqlite/exclusive-lock.ts';

/**
 * Takes the lock of the one drain of a spool, or returns undefined when a drain has it. Who holds it
 * may say what becomes of messages that are being sent. It is free again when its holder dies. Who only
 * looks has it for a moment: drain itself waits so long.
 */
export function drainLock(folder: string, waitMs = 0): { release(): void } | undefined {
  return exclusiveLock(lockFile(folder), waitMs);
}

/** Whether a drain is at work on the spool. */
export function drainRuns(folder: string): boolean {
  // Asking makes the file, which is for drain to do.
  if (!existsSync(lockFile(folder))) return false;
  const lock = drainLock(folder);
  lock?.release();
  return lock === undefined;
}

function lockFile(folder: string): string {
  return join(folder, 'drain.lock');
}
