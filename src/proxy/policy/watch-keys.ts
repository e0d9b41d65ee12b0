import { unwatchFile, watchFile } from 'node:fs';
import type { ProxyJournal } from '../proxy-journal.ts';
import { limits } from '../../limits.ts';
import type { Keyring } from './keyring.ts';

/**
 * Reads the keys again on SIGHUP, and when their file changes or is replaced, until stopped. The journal
 * is told when others are in force and what is unsafe about them, and when they cannot be read.
 */
export function watchKeys(keyring: Keyring, journal: ProxyJournal, stop: AbortSignal): void {
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

  // By looking, not by inotify: it sees what is behind a symbolic link, whatever is replaced on the way.
  const soon = (delayMs: number) => void setTimeout(() => reload(false), delayMs).unref();
  watchFile(file, { interval: limits.keysLookMs, persistent: false }, () =>
    soon(limits.keysSettleMs),
  );
  // What its first look finds is no change to it, even if the keys were read before that.
  soon(limits.keysLookMs);
  stop.addEventListener('abort', () => unwatchFile(file));
}

const OF_ENVIRONMENT =
  'they are from the environment of this process, which does not change. To do: restart the proxy';
