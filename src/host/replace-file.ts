import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { syncFolder } from './sync-folder.ts';

/**
 * Puts a file in place whole, or removes it when the content is undefined; it is on disk when this
 * returns. Owner and mode stay those of the file that is replaced; a new one is root's, 0644.
 */
export function replaceFile(file: string, content: string | Buffer | undefined): void {
  // Programs that read every file of a folder leave out names that begin with a dot.
  const temporary = join(dirname(file), `.${basename(file)}.new`);
  rmSync(temporary, { force: true });
  if (content === undefined) {
    rmSync(file, { force: true });
    if (existsSync(dirname(file))) syncFolder(dirname(file));
    return;
  }
  const found = statSync(file, { throwIfNoEntry: false });
  const fd = openSync(temporary, 'wx');
  try {
    writeFileSync(fd, content);
    fchmodSync(fd, (found?.mode ?? 0o644) & 0o7777);
    if (found) fchownSync(fd, found.uid, found.gid);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
  syncFolder(dirname(file));
}

/** A file's content, or undefined where there is none. */
export function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
