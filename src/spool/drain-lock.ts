import { join } from 'node:path';
import { exclusiveLock } from '../host/exclusive-lock.ts';

/**
 * Takes the lock of the one drain of a spool, or returns undefined when a drain has it. Who holds it
 * may say what becomes of messages that are being sent. It is free again when its holder dies.
 */
export function drainLock(folder: string): { release(): void } | undefined {
  return exclusiveLock(join(folder, 'drain.lock'));
}
