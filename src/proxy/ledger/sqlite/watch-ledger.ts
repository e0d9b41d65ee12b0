import { watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { every } from '../../../host/clock.ts';
import { FILES } from '../../../sqlite/open-files.ts';
import { limits } from '../../../limits.ts';
import type { SqliteLedger } from './sqlite-ledger.ts';

/**
 * Checks until stopped whether the ledger's files are in place: when one of these names appears or disappears, and
 * every limits.lookMs. Resolves with what is wrong as soon as they are not in place, or with undefined when stopped.
 */
export async function watchLedger(
  ledger: SqliteLedger,
  stop: AbortSignal,
): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const look = () => {
      try {
        ledger.files.requireInPlace();
      } catch (error) {
        end(error as Error);
      }
    };
    const stopLooking = every(ledger.clock, limits.lookMs, look);
    const unwatch = watchNames(ledger.file, look);
    const end = (error?: Error) => {
      stopLooking();
      unwatch();
      resolve(error);
    };
    stop.addEventListener('abort', () => end());
    if (stop.aborted) end();
    else look();
  });
}

/** Where no watch can be had (too many on this machine), only the regular checks remain. */
function watchNames(file: string, changed: () => void): () => void {
  const names = new Set(FILES.map((end) => `${basename(file)}${end}`));
  try {
    const watcher = watch(dirname(file), (event, name) => {
      if (event === 'rename' && names.has(name ?? '')) changed();
    });
    watcher.on('error', () => watcher.close());
    return () => watcher.close();
  } catch {
    return () => {};
  }
}
