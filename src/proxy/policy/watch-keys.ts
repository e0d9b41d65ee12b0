import { unwatchFile, watchFile } from 'node:fs';
import { systemClock, type Clock } from '../../host/clock.ts';
import type { ProxyJournal } from '../proxy-journal.ts';
import { limits } from '../../limits.ts';
import type { Keyring } from './keyring.ts';

/**
 * Reads the keys again on SIGHUP, and when their file changes or is replaced, until stopped. Tells the journal when
 * other keys are in force, what is unsafe about them, and when they cannot be read.
 */
export function watchKeys(
  keyring: Keyring,
  journal: ProxyJournal,
  stop: AbortSignal,
  clock: Clock = systemClock,
): void {
  const reload = (asked: boolean) => {
    try {
      const changed = keyring.reload();
      if (!changed && !asked) return;
      // The environment of a process stays as it was.
      if (keyring.file === undefined) return journal.keysTrouble(OF_ENVIRONMENT);
      journal.keys(keyring.size);
      for (const fault of keyring.faults) journal.keyUnsafe(fault);
    } catch (error) {
      journal.keysTrouble((error as Error).message);
    }
  };
  process.on('SIGHUP', () => reload(true));
  const { file } = keyring;
  if (file === undefined) return;

  // Polled, without inotify: so the file is seen behind symbolic links, whatever is replaced on the way.
  const soon = (delayMs: number) => void clock.timer(delayMs, () => reload(false), { idle: true });
  watchFile(file, { interval: limits.keysLookMs, persistent: false }, () =>
    soon(limits.keysSettleMs),
  );
  // Its first look finds no change, even if the file has changed since the keys were read.
  soon(limits.keysLookMs);
  stop.addEventListener('abort', () => unwatchFile(file));
}

const OF_ENVIRONMENT =
  'they are from the environment of this process, which does not change. To do: restart the proxy';
