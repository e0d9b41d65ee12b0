import { closeSync, fsyncSync, openSync } from 'node:fs';

/** Has the names in a folder on disk when it returns: what was made there, renamed or removed (fsync(2)). */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
