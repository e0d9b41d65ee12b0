import { spawnSync } from 'node:child_process';
import { limits } from '../mail/limits.ts';

/** How a program ended; `code` is null when it could not be started or was killed. */
export interface CommandResult {
  code: number | null;
  stdout: string;
  /** What it said of the trouble: standard error, or why it did not run. */
  stderr: string;
}

/** Runs a short program of the system to its end, and waits for it. Never throws. */
export function runCommand(file: string, ...args: string[]): CommandResult {
  const { status, stdout, stderr, error } = spawnSync(file, args, {
    encoding: 'utf8',
    timeout: limits.commandMs,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
  });
  return { code: status, stdout: stdout ?? '', stderr: error?.message ?? stderr };
}
