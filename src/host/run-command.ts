import { spawnSync } from 'node:child_process';
import { limits } from '../limits.ts';

/** How a program ended; `code` is null when it could not be started or was killed. */
export interface CommandResult {
  code: number | null;
  stdout: string;
  /** What it said of the trouble: standard error, or why it did not run. */
  stderr: string;
}

/** Whom to run as; root may. */
export interface Account {
  uid: number;
  gid: number;
}

/** An account and its group by its name, undefined when there is none. */
export function findAccount(name: string): Account | undefined {
  const { code, stdout } = runCommand('getent', 'passwd', name);
  const [, , uid, gid] = stdout.split(':');
  return code === 0 ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

/** Runs a short program of the system to its end, and waits for it. Never throws. */
export function runCommand(file: string, ...args: string[]): CommandResult {
  return runCommandWith({}, file, ...args);
}

/** The same with standard input, as another account, and with an environment of ours. */
export function runCommandWith(
  {
    input = '',
    account,
    env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
  }: { input?: string; account?: Account | undefined; env?: NodeJS.ProcessEnv },
  file: string,
  ...args: string[]
): CommandResult {
  // Another account gets no terminal to control: it could type into that of root.
  const [program, words] = account ? ['setsid', ['--wait', file, ...args]] : [file, args];
  const { status, stdout, stderr, error } = spawnSync(program, words, {
    encoding: 'utf8',
    timeout: limits.commandMs,
    killSignal: 'SIGKILL', // exim-pipe and its launcher do not hear SIGTERM.
    input,
    env,
    cwd: '/',
    ...account,
  });
  return { code: status, stdout: stdout ?? '', stderr: error?.message ?? stderr };
}
