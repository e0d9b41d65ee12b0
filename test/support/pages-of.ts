import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Pages of a database that were read from its files into an empty cache, and written. */
export interface Pages {
  read: number;
  written: number;
}

/** How many pages of SQLite databases this process reads and writes for the action. */
export async function pagesOf(action: () => unknown): Promise<Pages> {
  const before = await quietIoBytes();
  await action();
  const after = ioBytes();
  // What asking costs is less than a page.
  const pages = (name: 'rchar' | 'wchar') => Math.floor((after[name] - before[name]) / PAGE_BYTES);
  return { read: pages('rchar'), written: pages('wchar') };
}

/** Those when nothing else of this process reads or writes, as tsx does when it keeps what it has compiled. */
async function quietIoBytes(): Promise<ReturnType<typeof ioBytes>> {
  for (let before = ioBytes(); ;) {
    await sleep(20);
    const after = ioBytes();
    // To look costs some bytes.
    if (after.wchar === before.wchar && after.rchar - before.rchar < PAGE_BYTES) return after;
    before = after;
  }
}

/** Bytes that this process has read and written so far, whether or not from the disk: see proc(5). */
function ioBytes(): { rchar: number; wchar: number } {
  const text = readFileSync('/proc/self/io', 'utf8');
  const bytes = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1]);
  return { rchar: bytes('rchar'), wchar: bytes('wchar') };
}

const PAGE_BYTES = 4096;
