import { statfsSync } from 'node:fs';
import { limits } from '../mail/limits.ts';

/**
 * Says why the folder's file system is too full to take more; undefined when there is room.
 * `spareBytes` are bytes that our file can use again without growing; less than 0 when it is to grow.
 */
export function spaceFault(folder: string, spareBytes: number): string | undefined {
  const { bsize, blocks, bavail, files, ffree } = statfsSync(folder);
  const free = bavail * bsize + spareBytes;
  const least = Math.min(limits.freeBytesMin, blocks * bsize * limits.freeShareMin);
  if (free < least) {
    return `only ${megabytes(free)} free in ${folder}, and ${megabytes(least)} are kept free`;
  }
  // Some file systems (btrfs) have no inode table and report 0 of 0.
  if (files > 0 && ffree < limits.freeInodesMin) {
    return `only ${ffree} inodes free in ${folder}, and ${limits.freeInodesMin} are kept free`;
  }
  return undefined;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
