import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The other processes that have a file open, as `name (pid 123)`, as far as /proc shows them: root sees all, others
 * those of the same account, a hardened service perhaps only itself.
 */
export function holdersOf(file: string): string[] {
  const path = realpathSync(file);
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids
    .filter((pid) => pid !== String(process.pid) && hasOpen(pid, path))
    .map((pid) => `${nameOf(pid)} (pid ${pid})`);
}

function hasOpen(pid: string, path: string): boolean {
  const folder = `/proc/${pid}/fd`;
  return unlessGone([], () => readdirSync(folder)).some(
    (fd) => unlessGone('', () => readlinkSync(join(folder, fd))) === path,
  );
}

function nameOf(pid: string): string {
  return unlessGone('ended', () => readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
}

/** Processes and their files go at any time, and those of others are not shown. */
function unlessGone<T>(otherwise: T, look: () => T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
