import { watch } from 'node:fs';
import type { Spool } from './spool.ts';

/**
 * Calls back when another process has committed something to the spool; see Spool.wakeDrain.
 * PRAGMA data_version tells others' commits from our own checkpoints. Returns `look`, which checks
 * without an event (drain does now and then, for a writer that died before waking it), and `stop`.
 */
export function watchSpool(
  spool: Spool,
  changed: () => void,
  failed: (error: Error) => void,
): { look(): void; stop(): void } {
  const version = () => spool.db.pragma('data_version', { simple: true });
  let seen = version();
  const look = () => {
    const now = version();
    if (now === seen) return;
    seen = now;
    changed();
  };
  const watcher = watch(spool.folder, (_event, name) => {
    if (name === 'spool.db') look();
  });
  watcher.on('error', failed);
  return { look, stop: () => watcher.close() };
}
