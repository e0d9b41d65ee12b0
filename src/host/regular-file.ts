import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  statSync,
  type Stats,
} from 'node:fs';

/** Something else has the name of a file: it could hold up who opens it, or be another's. */
export class NotRegularFileError extends Error {
  override readonly name = 'NotRegularFileError';
}

/**
 * Reads a whole file from a folder that may be anybody's: nothing that lies there holds up the program. Links are
 * followed, but not with `own`, which is for a file that only our programs make. Throws NotRegularFileError, or the file
 * system's error.
 */
export function readRegularFile(file: string, own = false): Buffer {
  requireRegular(file, own ? lstatSync(file) : statSync(file));
  const { O_RDONLY, O_NONBLOCK, O_NOCTTY, O_NOFOLLOW } = constants;
  // It may have been replaced by now: a FIFO is opened at once.
  const fd = openSync(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | (own ? O_NOFOLLOW : 0));
  try {
    requireRegular(file, fstatSync(fd));
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** What to say of something that is not a regular file; undefined for one. */
export function irregularity(file: string, found: Stats): string | undefined {
  if (found.isFile()) return undefined;
  let kind = 'a device';
  if (found.isSymbolicLink()) kind = 'a symbolic link';
  if (found.isFIFO()) kind = 'a FIFO';
  if (found.isDirectory()) kind = 'a folder';
  if (found.isSocket()) kind = 'a socket';
  return `${file} is ${kind}, and is not a regular file`;
}

function requireRegular(file: string, found: Stats): void {
  const fault = irregularity(file, found);
  if (fault !== undefined) throw new NotRegularFileError(fault);
}
