import { statfsSync } from 'node:fs';
import { limits } from '../limits.ts';
import { showBytes } from './show-bytes.ts';

/** The free space of a file system, for accounts other than root. */
export interface FreeSpace {
  bytes: number;
  /** What is kept free: nothing more is taken below. */
  leastBytes: number;
  /** Null where the file system has no inode table, and reports 0 of 0 (btrfs). */
  inodes: number | null;
}

/** The free space of the file system of a folder. */
export function freeSpace(folder: string): FreeSpace {
  const { bsize, blocks, bavail, files, ffree } = statfsSync(folder);
  return {
    bytes: bavail * bsize,
    leastBytes: Math.min(limits.freeBytesMin, blocks * bsize * limits.freeShareMin),
    inodes: files > 0 ? ffree : null,
  };
}

/**
 * Says why the folder's file system is too full to take more; undefined when there is room.
 * Pages that are free in our file do not count: what is written goes into the log first, which needs space of its own.
 * `growth` is how many bytes are about to be written.
 */
export function spaceFault(folder: string, growth = 0): string | undefined {
  const { bytes, leastBytes, inodes } = freeSpace(folder);
  const free = bytes - growth;
  if (free < leastBytes) {
    return `only ${showBytes(free)} free in ${folder}, and ${showBytes(leastBytes)} are kept free`;
  }
  if (inodes !== null && inodes < limits.freeInodesMin) {
    return `only ${inodes} inodes free in ${folder}, and ${limits.freeInodesMin} are kept free`;
  }
  return undefined;
}
