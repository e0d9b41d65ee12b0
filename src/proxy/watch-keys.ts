import { watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Journal } from '../host/journal.ts';
import { limits } from '../mail/limits.ts';
import type { Keyring } from './keyring.ts';

/**
 * Reads the keys again on SIGHUP, and when their file changes or is replaced, until stopped. The journal
 * is told when others are in force, and when they cannot be read.
 */
export function watchKeys(keyring: Keyring, journal: Journal, stop: AbortSignal): void {
  const reload = (asked: boolean) => {
    try {
      const changed = keyring.reload();
      if (changed || asked) journal.keysInForce(keyring.size);
    } catch (error) {
      journal.keysTrouble((error as Error).message);
    }
  };
  process.on('SIGHUP', () => reload(true));
  const { file } = keyring;
  if (file === undefined) return;

  let timer: NodeJS.Timeout | undefined;
  const unwatched = ({ message }: Error) =>
    journal.keysTrouble(`${file} cannot be watched: ${message}; send SIGHUP after a change`);
  try {
    // The folder: an editor may put another file in the place of this one.
    const watcher = watch(dirname(file), { signal: stop, persistent: false }, (_event, name) => {
      if (name !== null && name !== basename(file)) return;
      clearTimeout(timer);
      timer = setTimeout(() => reload(false), limits.keysSettleMs).unref();
    });
    watcher.on('error', unwatched);
  } catch (error) {
    unwatched(error as Error);
  }
}
