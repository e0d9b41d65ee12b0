import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { exclusiveLock } from '../sqlite/exclusive-lock.ts';

/** A lock that this process has. It is free again when it is released, or the process dies. */
export interface Lock {
  release(): void;
}

/**
 * Takes the lock of the one drain of a spool, or returns undefined when a drain has it. Only its holder may decide about
 * messages that are being sent. A program that only asks has it for a moment: drain itself waits so long, `waitMs`.
 */
export function drainLock(folder: string, waitMs = 0): Lock | undefined {
  return exclusiveLock(fileOf(folder, 'drain'), waitMs);
}

/** Whether a drain is at work on the spool. */
export function drainRuns(folder: string): boolean {
  return isTaken(folder, 'drain');
}

/** Takes the lock of the one program that gives messages of a spool back to Exim; undefined when another has it. */
export function returnLock(folder: string): Lock | undefined {
  return exclusiveLock(fileOf(folder, 'return'));
}

/** Whether some program is giving messages back to Exim. */
export function returnRuns(folder: string): boolean {
  return isTaken(folder, 'return');
}

/**
 * Takes the lock of the one program that exports messages of a spool, confirms an export or takes it back; undefined
 * when another has it.
 */
export function exportLock(folder: string): Lock | undefined {
  return exclusiveLock(fileOf(folder, 'export'));
}

type Name = 'drain' | 'return' | 'export';

function isTaken(folder: string, name: Name): boolean {
  const file = fileOf(folder, name);
  // To ask would make the file, which is for the programs that take the lock.
  if (!existsSync(file)) return false;
  const lock = exclusiveLock(file);
  lock?.release();
  return lock === undefined;
}

function fileOf(folder: string, name: Name): string {
  return join(folder, `${name}.lock`);
}
