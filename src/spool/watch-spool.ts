import { watch } from 'node:fs';
import { FILES } from '../sqlite/open-files.ts';
import { WAKE, type Spool } from './spool.ts';

/**
 * Calls back when another process has committed something to the spool (see Spool.wakeDrain), or has removed
 * or replaced one of its files.
 * PRAGMA data_version tells others' commits from our own checkpoints, which touch the file as well.
 * Returns what ends it. Without a watch (`failed`: too many on this machine) drain has only its looks.
 */
export function watchSpool(
  spool: Spool,
  changed: () => void,
  failed: (error: Error) => void,
): () => void {
  const version = () => spool.db.pragma('data_version', { simple: true });
  let seen = version();
  try {
    const watcher = watch(spool.folder, (event, name) => {
      if (event === 'rename' && FILES.some((end) => name === `spool.db${end}`)) return changed();
      if (name !== 'spool.db' && !name?.startsWith(WAKE)) return;
      try {
        const now = version();
        if (now === seen) return;
        seen = now;
      } catch {
        // The callback reads the spool, and deals with what is wrong with it.
      }
      changed();
    });
    watcher.on('error', failed);
    return () => watcher.close();
  } catch (error) {
    failed(error as Error);
    return () => {};
  }
}
