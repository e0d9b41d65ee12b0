import { statfsSync } from 'node:fs';
import { limits } from '../limits.ts';
import { showBytes } from './show-bytes.ts';

/**
 * Says why the folder's file system is too full to take more; undefined when there is room.
 * Pages that are free in our file do not count: what is written goes into the log first, which needs space of its own.
 * `growth` is how many bytes are about to be written.
 */
export function spaceFault(folder: string, growth = 0): string | undefined {
  const { bsize, blocks, bavail, files, ffree } = statfsSync(folder);
  const free = bavail * bsize - growth;
  const least = Math.min(limits.freeBytesMin, blocks * bsize * limits.freeShareMin);
  if (free < least) {
    return `only ${showBytes(free)} free in ${folder}, and ${showBytes(least)} are kept free`;
  }
  // Some file systems (btrfs) have no inode table and report 0 of 0.
  if (files > 0 && ffree < limits.freeInodesMin) {
    return `only ${ffree} inodes free in ${folder}, and ${limits.freeInodesMin} are kept free`;
  }
  return undefined;
}
